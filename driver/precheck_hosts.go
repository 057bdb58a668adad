package driver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// wantedHost is a name or address that the engine or its peers will connect to.
type wantedHost struct {
	// Setting names it in messages.
	Setting string
	Host    string
	// Told: it is this instance's own address, told to its peers. Own is what
	// Nomad gave to the group; where that is loopback, as in dev mode, the
	// peers are here too.
	Told bool
	Own  string
	// Listened: the engine listens on it.
	Listened bool
}

// hosts collects every host that the task's settings name.
func (b *builder) hosts() (out []wantedHost) {
	add := func(setting string, hosts ...string) {
		for _, h := range hosts {
			if h != "" {
				out = append(out, wantedHost{Setting: setting, Host: h})
			}
		}
	}
	for _, f := range []string{"--data-parallel-address", "--master-addr"} {
		if v := flagValues(b.Task.Args, f); len(v) > 0 {
			add("args: "+f, v[0])
		}
	}
	kv := b.Task.KVTransfer
	if kv == nil {
		return out
	}
	for i, part := range append([]KVTransfer{*kv}, kv.Parts...) {
		block := "kv_transfer."
		if i > 0 {
			block = "kv_transfer.part."
		}
		if h := part.SideChannelHost; h != "" {
			own, _ := b.port(sideChannelPort, part.SideChannelPort) // reported with the connector
			out = append(out, wantedHost{Setting: block + "side_channel_host", Host: h, Told: true, Own: own.HostIP, Listened: true})
		}
		if m := part.LMCacheMP; m != nil {
			add(block+"lmcache_mp.host", m.Host)
		}
		if m := part.MooncakeStore; m != nil {
			add(block+"mooncake_store.master_server_address", hostOf(m.MasterServerAddress))
			add(block+"mooncake_store.metadata_server", urlHosts(m.MetadataServer)...)
			if m.LocalHostname != "" {
				out = append(out, wantedHost{Setting: block + "mooncake_store.local_hostname", Host: hostOf(m.LocalHostname), Told: true, Own: b.storeHostname(MooncakeStore{})})
			}
		}
		if l := part.LMCache; l != nil {
			add(block+"lmcache.remote_url", urlHosts(l.RemoteURL)...)
			if l.PD != nil {
				add(block+"lmcache.pd.proxy_host", l.PD.ProxyHost)
				add(block+"lmcache.pd.receiver_host", l.PD.ReceiverHost)
			}
		}
	}
	return out
}

// urlHosts are the hosts of scheme://[user@]host[:port],.../rest, where the
// scheme is one whose authority is a host: that of s3:// is a bucket.
func urlHosts(url string) (hosts []string) {
	scheme, rest, ok := strings.Cut(url, "://")
	if !ok || !slices.Contains([]string{"http", "https", "etcd", "redis", "rediss", "redis-sentinel", "valkey", "lm", "infinistore", "mooncakestore"}, scheme) {
		return nil
	}
	rest, _, _ = strings.Cut(rest, "/")
	rest, _, _ = strings.Cut(rest, "?")
	for _, h := range strings.FieldsFunc(rest, func(r rune) bool { return r == ',' || r == ';' }) {
		hosts = append(hosts, hostOf(h[strings.LastIndex(h, "@")+1:]))
	}
	return hosts
}

// hostOf is the host of host:port, [host]:port or host.
func hostOf(address string) string {
	if host, _, err := net.SplitHostPort(address); err == nil {
		return host
	}
	return strings.Trim(address, "[]")
}

// checkHosts resolves every name, all at once.
func (p prober) checkHosts(ctx context.Context, hosts []wantedHost) error {
	ctx, cancel := context.WithTimeout(ctx, p.hostLimit)
	defer cancel()
	results := make(chan error)
	for _, h := range hosts {
		go func() { results <- p.checkHost(ctx, h) }()
	}
	var errs []error
	for range hosts {
		errs = append(errs, <-results)
	}
	return errors.Join(errs...)
}

func (p prober) checkHost(ctx context.Context, h wantedHost) error {
	addrs := []netip.Addr{}
	if a, err := netip.ParseAddr(h.Host); err == nil {
		addrs = append(addrs, a)
	} else if addrs, err = p.lookup(ctx, h.Host); err != nil {
		return unresolved(h, p.hostLimit, err)
	}
	own, _ := netip.ParseAddr(h.Own) // none: the missing port is another mistake
	for _, a := range addrs {
		if !h.Told {
			break
		}
		if why := unreachable(a, own); why != "" {
			return fmt.Errorf("%s %q resolves to %s: %s; leave it out for the group's own address, %s, or correct /etc/hosts or DNS", h.Setting, h.Host, a, why, h.Own)
		}
		if err := p.local(a); h.Listened && errors.Is(err, unix.EADDRNOTAVAIL) {
			return fmt.Errorf("%s %q resolves to %s, which is no address of this node: the engine listens on it and would hang; leave it out for the group's own address, %s",
				h.Setting, h.Host, a, h.Own)
		}
	}
	return nil
}

// unresolved tells a name that does not exist from name servers that do not answer.
func unresolved(h wantedHost, limit time.Duration, err error) error {
	var dns *net.DNSError
	if !errors.As(err, &dns) || !dns.IsNotFound {
		return &recoverable{fmt.Errorf("%s %q: does not resolve now (tried for at most %s): %w; look at the name servers in /etc/resolv.conf", h.Setting, h.Host, limit, err)}
	}
	if strings.Contains(h.Host, ".service.") || strings.Contains(h.Host, ".query.") {
		return &recoverable{fmt.Errorf("%s %q: no such host: Consul knows no healthy instance of that service yet, or the name is wrong", h.Setting, h.Host)}
	}
	return fmt.Errorf("%s %q: no such host; correct the name, or write an address", h.Setting, h.Host)
}

// unreachable says why peers cannot use an address that they are told; empty:
// nothing speaks against it. Own is the group's own address, whose network may
// be as narrow. The zero Addr: not known.
func unreachable(a, own netip.Addr) string {
	switch {
	case a.IsUnspecified() || a.IsMulticast():
		return "peers are told this address and cannot connect to it"
	case a.IsLoopback() && own.IsValid() && !own.IsLoopback():
		return "peers on other nodes would connect to themselves"
	case a.IsLinkLocalUnicast() && own.IsValid() && !own.IsLinkLocalUnicast():
		return "an address of one network link, which peers beyond it cannot reach"
	}
	return ""
}

// listenable tries to listen on an address.
func listenable(a netip.Addr) error {
	l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(a, 0)))
	if err != nil {
		return err
	}
	return l.Close()
}

// resolver resolves names as the engine will. This binary asks DNS and
// /etc/hosts itself; the engine's C library may know more sources (a node's
// own name, mDNS, LDAP), so before a name counts as missing it is asked too.
type resolver struct{ *net.Resolver }

func (r resolver) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	addrs, err := r.LookupNetIP(ctx, "ip", host)
	var dns *net.DNSError
	if err == nil || !errors.As(err, &dns) || !dns.IsNotFound {
		return addrs, err
	}
	out, getentErr := exec.CommandContext(ctx, "getent", "ahosts", "--", host).Output()
	if getentErr != nil {
		return nil, err // there is no getent, or it does not find the name either
	}
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); len(f) > 0 {
			if a, err := netip.ParseAddr(f[0]); err == nil {
				addrs = append(addrs, a)
			}
		}
	}
	return addrs, nil
}
