package front

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Certificate is one that is read again when its files change.
type Certificate struct {
	certFile, keyFile string
	log               hclog.Logger
	now               func() time.Time

	mu      sync.Mutex
	current *tls.Certificate
	version version
	looked  time.Time
}

// version tells whether a file was replaced.
type version struct{ cert, key stamp }

type stamp struct {
	at   time.Time
	size int64
}

// lookEvery bounds how often the files are looked at: at a handshake, and no
// oftener than this.
const lookEvery = time.Second

// LoadCertificate reads a certificate with its chain and its key, both PEM.
func LoadCertificate(certFile, keyFile string, log hclog.Logger) (*Certificate, error) {
	c := &Certificate{certFile: certFile, keyFile: keyFile, log: log, now: time.Now}
	if err := c.load(); err != nil {
		return nil, err
	}
	return c, nil
}

// load reads the files. They are stamped before: what changes meanwhile is
// read again the next time.
func (c *Certificate) load() error {
	v, err := c.stamp()
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	loaded, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("certificate %s with key %s: %w", c.certFile, c.keyFile, err)
	}
	c.current, c.version = &loaded, v
	return nil
}

func (c *Certificate) stamp() (version, error) {
	read := func(path string) (stamp, error) {
		info, err := os.Stat(path) // what a link points to: that is what rotates
		if err != nil {
			return stamp{}, err
		}
		return stamp{info.ModTime(), info.Size()}, nil
	}
	cert, err1 := read(c.certFile)
	key, err2 := read(c.keyFile)
	return version{cert, key}, errors.Join(err1, err2)
}

// Get is for tls.Config.GetCertificate. While the new files do not fit, because
// only one of the two has been replaced yet for example, the old pair serves.
func (c *Certificate) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.now(); now.Sub(c.looked) >= lookEvery {
		c.looked = now
		if v, err := c.stamp(); err != nil {
			c.log.Warn("certificate cannot be read again; the old one serves on", "error", err)
		} else if v != c.version {
			if err := c.load(); err != nil {
				c.log.Warn("new certificate does not fit; the old one serves on", "error", err)
			} else {
				c.log.Info("certificate was replaced", "not_after", c.current.Leaf.NotAfter)
			}
		}
	}
	return c.current, nil
}

// TLS is the configuration of a server with the certificate: TLS 1.2 and
// newer, HTTP/2 and HTTP/1.1.
func (c *Certificate) TLS() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}, GetCertificate: c.Get,
	}
}
