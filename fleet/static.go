package fleet

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/nomad-vllm/nomad-vllm/pd"
)

// Static makes a snapshot of fixed addresses, for a fleet without Consul. A
// URL in both lists serves both roles. Nothing is said of such instances'
// models, and the snapshot's At is zero: it never gets old. The error names
// every bad address.
func Static(prefill, decode []string) (*Snapshot, error) {
	byURL := map[string]*Instance{}
	var instances []*Instance
	var errs []error
	add := func(role pd.Role, raws []string) {
		for _, raw := range raws {
			base, err := baseURL(raw)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s address %q: %w", role, raw, err))
				continue
			}
			switch i := byURL[base]; {
			case i == nil:
				i = &Instance{ID: base, URL: base, Role: role, Meta: pd.Meta{DPSize: 1}}
				byURL[base] = i
				instances = append(instances, i)
			case i.Role != role && i.Role != pd.RoleBoth:
				i.Role = pd.RoleBoth
			default:
				errs = append(errs, fmt.Errorf("%s address %q: given twice; an instance would get twice its share", role, raw))
			}
		}
	}
	add(pd.RolePrefill, prefill)
	add(pd.RoleDecode, decode)
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return NewSnapshot(slices.Clip(instances), time.Time{}), nil
}

// baseURL checks an address as people write it ("host:port" is taken as http)
// and brings it into the form of Instance.URL.
func baseURL(raw string) (string, error) {
	s := raw
	if !strings.Contains(s, "://") {
		s = "http://" + s
	}
	u, err := url.Parse(s)
	if err != nil {
		return "", errors.New("not a URL; write http://HOST:PORT")
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return "", fmt.Errorf("scheme %q; want http or https", u.Scheme)
	case u.Hostname() == "":
		return "", errors.New("no host; write http://HOST:PORT")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return "", errors.New("carries more than host, port and path; write http://HOST:PORT")
	}
	return u.Scheme + "://" + u.Host + strings.TrimRight(u.EscapedPath(), "/"), nil
}

// Fixed is a source that always has the same snapshot, with the methods of a
// Consul that a reader needs.
type Fixed struct{ view *Snapshot }

// NewFixed makes a source of one snapshot.
func NewFixed(s *Snapshot) *Fixed { return &Fixed{view: s} }

// Snapshot is the one given.
func (f *Fixed) Snapshot() *Snapshot { return f.view }

// LastError is always nil.
func (f *Fixed) LastError() error { return nil }

// Changed never receives.
func (f *Fixed) Changed() <-chan struct{} { return nil }
