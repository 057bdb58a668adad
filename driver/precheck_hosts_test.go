package driver

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/nomad/nomad/structs"
	"github.com/hashicorp/nomad/plugins/drivers"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/nomad-vllm/nomad-vllm/driver/shim"
	"github.com/nomad-vllm/nomad-vllm/vllm"
)

func TestHosts_areThoseThatTheSettingsName(t *testing.T) {
	store := &MooncakeStore{MasterServerAddress: "master:50051", MetadataServer: "etcd://e1:2379;e2:2379", LocalHostname: "me"}
	for name, c := range map[string]struct {
		s    situation
		want []wantedHost
	}{
		"none": {s: good()},
		"args": {s: good(func(s *situation) { s.Task.Args = []string{"-dpa=lead", "--master_addr", "m"} }),
			want: []wantedHost{{Setting: "args: --data-parallel-address", Host: "lead"}, {Setting: "args: --master-addr", Host: "m"}}},
		"side channel": {s: good(func(s *situation) { s.Task.KVTransfer.SideChannelHost = "node.lan" }),
			want: []wantedHost{{Setting: "kv_transfer.side_channel_host", Host: "node.lan", Told: true, Own: "10.0.0.7", Listened: true}}},
		"store": {s: cluster("both", KVTransfer{Connector: vllm.MooncakeStoreConnector, MooncakeStore: store}), want: []wantedHost{
			{Setting: "kv_transfer.mooncake_store.master_server_address", Host: "master"},
			{Setting: "kv_transfer.mooncake_store.metadata_server", Host: "e1"}, {Setting: "kv_transfer.mooncake_store.metadata_server", Host: "e2"},
			{Setting: "kv_transfer.mooncake_store.local_hostname", Host: "me", Told: true, Own: "10.0.0.7"}}},
		"parts": {s: cluster("both", KVTransfer{Connector: vllm.MultiConnector, Parts: []KVTransfer{{Connector: vllm.LMCacheMPConnector, LMCacheMP: &LMCacheMP{Port: "lmcache", Host: "cache"}}}}),
			want: []wantedHost{{Setting: "kv_transfer.part.lmcache_mp.host", Host: "cache"}}},
		"lmcache": {s: cluster("prefill", lmcacheWith(func(l *LMCache) {
			l.PD = &LMCachePD{ProxyHost: "router", ProxyPort: 1}
			l.RemoteURL = "redis://user:pw@[::1]:6379/0"
		})), want: []wantedHost{{Setting: "kv_transfer.lmcache.remote_url", Host: "::1"}, {Setting: "kv_transfer.lmcache.pd.proxy_host", Host: "router"}}},
		"lmcache up to 0.3.6": {s: cluster("prefill", lmcacheWith(func(l *LMCache) {
			l.Version, l.PD = "0.3.2", &LMCachePD{ReceiverHost: "decode", ReceiverPort: 1}
		})), want: []wantedHost{{Setting: "kv_transfer.lmcache.pd.receiver_host", Host: "decode"}}},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := newPlan(c.s)
			require.NoError(t, err)
			require.Equal(t, c.want, p.Wants.Hosts)
		})
	}
	for url, want := range map[string][]string{
		"redis-sentinel://a:1,b:2/x": {"a", "b"}, "lm://h?x=1": {"h"}, "https://h/v1": {"h"},
		"s3://bucket/x": nil, "fs:///path": nil, "P2PHANDSHAKE": nil, "": nil, "mooncakestore:///": nil,
	} {
		require.Equal(t, want, urlHosts(url), url)
	}
}

// nameServer answers every question over UDP with what answer says; nil: silence.
func nameServer(t *testing.T, answer func(query []byte) []byte) *net.Resolver {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if out := answer(buf[:n]); out != nil {
				_, _ = conn.WriteTo(out, from)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

const serverFailure, noSuchName = 2, 3

// code answers with an error code.
func code(rcode byte) func([]byte) []byte {
	return func(q []byte) []byte {
		out := append([]byte(nil), q...)
		out[2], out[3] = 0x81, 0x80|rcode
		binary.BigEndian.PutUint16(out[10:], 0) // no additional records
		return out[:questionEnd(out)]
	}
}

func questionEnd(msg []byte) int {
	i := 12
	for msg[i] != 0 {
		i += int(msg[i]) + 1
	}
	return i + 5
}

// address answers questions for IPv4 with an address, others with nothing.
func address(a string) func([]byte) []byte {
	return func(q []byte) []byte {
		out := code(0)(q)
		if binary.BigEndian.Uint16(out[len(out)-4:]) != 1 {
			return out
		}
		binary.BigEndian.PutUint16(out[6:], 1)
		out = append(out, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4)
		ip := netip.MustParseAddr(a).As4()
		return append(out, ip[:]...)
	}
}

func TestCheckHosts_tellWhoDoesNotResolveAndWhy(t *testing.T) {
	t.Setenv("PATH", "") // no getent
	plain := func(name string) wantedHost {
		return wantedHost{Setting: "kv_transfer.lmcache_mp.host", Host: name}
	}
	told := func(own string) wantedHost {
		return wantedHost{Setting: "kv_transfer.side_channel_host", Host: "node.lan", Told: true, Own: own, Listened: true}
	}
	silence := func([]byte) []byte { return nil }
	for name, c := range map[string]struct {
		answer func([]byte) []byte
		host   wantedHost
		want   string
		again  bool
	}{
		"there":                    {answer: address("192.0.2.7"), host: plain("cache.lan")},
		"an address":               {answer: silence, host: plain("192.0.2.7")},
		"an IPv6 address":          {answer: silence, host: plain("2001:db8::1")},
		"no such name":             {answer: code(noSuchName), host: plain("cache.lan"), want: `kv_transfer.lmcache_mp.host "cache.lan": no such host; correct the name, or write an address`},
		"a name without addresses": {answer: code(0), host: plain("cache.lan"), want: `no such host`},
		"Consul does not know it yet": {answer: code(noSuchName), host: plain("cache.service.consul"), again: true,
			want: `"cache.service.consul": no such host: Consul knows no healthy instance of that service yet, or the name is wrong`},
		"the server fails":   {answer: code(serverFailure), host: plain("cache.lan"), again: true, want: `kv_transfer.lmcache_mp.host "cache.lan": does not resolve now (tried for at most 200ms)`},
		"the server hangs":   {answer: silence, host: plain("cache.lan"), again: true, want: `; look at the name servers in /etc/resolv.conf`},
		"told loopback":      {answer: address("127.0.1.1"), host: told("10.0.0.7"), want: `kv_transfer.side_channel_host "node.lan" resolves to 127.0.1.1: peers on other nodes would connect to themselves; leave it out for the group's own address, 10.0.0.7, or correct /etc/hosts or DNS`},
		"told unspecified":   {answer: address("0.0.0.0"), host: told("10.0.0.7"), want: "peers are told this address and cannot connect to it"},
		"told multicast":     {answer: address("224.0.0.1"), host: told("10.0.0.7"), want: "peers are told this address and cannot connect to it"},
		"told link-local":    {answer: address("169.254.1.1"), host: told("10.0.0.7"), want: "an address of one network link, which peers beyond it cannot reach"},
		"told another's":     {answer: address("192.0.2.7"), host: told("10.0.0.7"), want: `resolves to 192.0.2.7, which is no address of this node: the engine listens on it and would hang`},
		"loopback among us":  {answer: address("127.0.0.1"), host: told("127.0.0.1")},
		"not told, loopback": {answer: address("127.0.0.1"), host: plain("cache.lan")},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProber()
			p.lookup, p.hostLimit = resolver{nameServer(t, c.answer)}.lookup, 200*time.Millisecond
			err := p.checkHosts(t.Context(), []wantedHost{c.host})
			if c.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.want)
			require.Equal(t, c.again, configError(err).(*startError).IsRecoverable())
		})
	}
}

func TestCheckHosts_allAtOnceAndNotLongerThanTheLimit(t *testing.T) {
	p := newProber()
	p.hostLimit = 300 * time.Millisecond
	p.lookup = resolver{nameServer(t, func([]byte) []byte { return nil })}.lookup
	var hosts []wantedHost
	for range 20 {
		hosts = append(hosts, wantedHost{Setting: "s", Host: "h.lan"})
	}
	start := time.Now()
	err := p.checkHosts(t.Context(), hosts)
	require.Less(t, time.Since(start), 3*time.Second, "one after the other they would take 6s")
	require.Len(t, err.(interface{ Unwrap() []error }).Unwrap(), 20)
}

func TestResolver_theCLibraryMayKnowMore(t *testing.T) {
	bin := t.TempDir()
	script := "#!/bin/sh\n[ \"$*\" = 'ahosts -- node.lan' ] && printf '10.0.0.7      STREAM node.lan\\n10.0.0.7      DGRAM\\n'\n"
	require.NoError(t, os.WriteFile(filepath.Join(bin, "getent"), []byte(script), 0o755))
	t.Setenv("PATH", bin)
	r := resolver{nameServer(t, code(noSuchName))}
	got, err := r.lookup(t.Context(), "node.lan")
	require.NoError(t, err)
	require.Contains(t, got, netip.MustParseAddr("10.0.0.7"))
	_, err = r.lookup(t.Context(), "other.lan")
	require.ErrorContains(t, err, "no such host")
}

func TestListenable_asksTheKernel(t *testing.T) {
	require.NoError(t, listenable(netip.MustParseAddr("127.0.0.1")))
	require.ErrorIs(t, listenable(netip.MustParseAddr("192.0.2.7")), unix.EADDRNOTAVAIL)
}

func TestPlan_sideChannelAddressMustBeReachable(t *testing.T) {
	host := func(host, own string) error {
		_, err := newPlan(good(func(s *situation) {
			s.Task.KVTransfer.SideChannelHost = host
			s.Ports[1].HostIP = own
		}))
		return err
	}
	require.ErrorContains(t, host("169.254.7.7", "10.0.0.7"), `kv_transfer.side_channel_host "169.254.7.7": an address of one network link`)
	require.ErrorContains(t, host("fe80::1", "10.0.0.7"), "one network link")
	require.ErrorContains(t, host("::", "10.0.0.7"), "peers are told this address")
	require.ErrorContains(t, host("::1", "10.0.0.7"), "peers on other nodes would connect to themselves")
	require.NoError(t, host("10.9.9.9", "10.0.0.7"))
	require.NoError(t, host("169.254.7.7", "169.254.7.6"))
	require.NoError(t, host("localhost", "127.0.0.1"))
	require.NoError(t, host("node.lan", "10.0.0.7"), "names are looked up later")
}

// startable is a task that would start, were it not for a check.
func startable(t *testing.T, tc TaskConfig) *drivers.TaskConfig {
	dir := t.TempDir()
	c := &drivers.TaskConfig{
		ID: "alloc/vllm/1", AllocID: "alloc", Name: "vllm", AllocDir: dir, StdoutPath: os.DevNull, StderrPath: os.DevNull,
		Resources: &drivers.Resources{Ports: &structs.AllocatedPorts{{Label: "http", HostIP: "127.0.0.1", Value: 1}, {Label: "nixl", HostIP: "127.0.0.1", Value: 2}}},
	}
	require.NoError(t, os.MkdirAll(c.TaskDir().Dir, 0o755))
	tc.Model, tc.Role, tc.Port, tc.Command = "m", "both", "http", "/bin/sh"
	require.NoError(t, c.EncodeConcreteDriverConfig(&tc))
	return c
}

// Over gRPC Nomad takes every driver for one that mounts volumes. A model that
// is not where the job says would be looked for on the Hub.
func TestStartTask_refusesVolumesThatNobodyMounts(t *testing.T) {
	c := startable(t, TaskConfig{})
	c.Mounts = []*drivers.MountConfig{{TaskPath: "/models", HostPath: "/srv/models"}}
	_, _, err := New(t.Context(), nullLog()).StartTask(c)
	require.ErrorContains(t, err, `volume_mount "/models": the engine runs on the node itself, where nothing is mounted for it; remove volume_mount and use the volume's own path, "/srv/models"`)
	require.NoError(t, mounts([]*drivers.MountConfig{{TaskPath: "/srv/models/", HostPath: "/srv/models"}}), "it is there anyway")
}

func TestStartTask_checksBeforeAnythingIsStarted(t *testing.T) {
	d := New(t.Context(), nullLog())
	d.prober.hostLimit = 200 * time.Millisecond
	d.prober.lookup = resolver{nameServer(t, func([]byte) []byte { return nil })}.lookup
	c := startable(t, TaskConfig{
		Args:       []string{"--chat-template=local/t.jinja"},
		KVTransfer: &KVTransfer{Connector: vllm.NixlConnector, SideChannelPort: "nixl", SideChannelHost: "node.lan"},
	})
	_, _, err := d.StartTask(c)
	require.ErrorContains(t, err, `args: --chat-template "local/t.jinja": there is no `)
	require.ErrorContains(t, err, `kv_transfer.side_channel_host "node.lan": does not resolve now`)
	require.False(t, err.(*startError).IsRecoverable(), "the template stays missing")
	require.NoDirExists(t, filepath.Join(c.AllocDir, ".nomad-driver-vllm"))

	require.NoError(t, os.MkdirAll(c.TaskDir().LocalDir, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(c.TaskDir().LocalDir, "t.jinja"), nil, 0o644))
	_, _, err = d.StartTask(c)
	require.NotContains(t, err.Error(), "t.jinja")
	require.True(t, err.(*startError).IsRecoverable(), "the name server may come back")
}

// What a start costs before its process: nothing that could be felt.
func BenchmarkPrecheck(b *testing.B) {
	s := good(func(s *situation) {
		s.DenyArgs = []string{"--trust-remote-code", "--middleware"}
		s.Task.Args = []string{"--max-model-len=8192", "--enforce-eager", "--max-num-seqs", "64", "--gpu-memory-utilization=0.9", "--seed", "1", "-asc=2",
			"--served-model-name", "a", "b", "--dtype=bfloat16", "--no-enable-prefix-caching"}
	})
	probe, spec := newProber(), shim.Spec{WorkDir: b.TempDir()}
	for b.Loop() {
		p, err := newPlan(s)
		if err == nil {
			err = probe.check(b.Context(), p.Wants, spec, "")
		}
		if err != nil {
			b.Fatal(err)
		}
		_ = commandLine(p.Argv, p.Env)
	}
}
