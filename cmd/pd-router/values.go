package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/nomad-vllm/nomad-vllm/router/choose"
)

// addresses is a setting that may be given several times, or once with commas.
type addresses []string

func (a *addresses) String() string { return strings.Join(*a, ",") }

func (a *addresses) Set(s string) error {
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			*a = append(*a, part)
		}
	}
	return nil
}

// byteSize is a size like 32MiB; a bare number is bytes.
type byteSize int64

func (b *byteSize) String() string {
	for _, unit := range []struct {
		suffix string
		bits   int
	}{{"GiB", 30}, {"MiB", 20}, {"KiB", 10}} {
		if n := int64(*b); n > 0 && n%(1<<unit.bits) == 0 {
			return strconv.FormatInt(n>>unit.bits, 10) + unit.suffix
		}
	}
	return strconv.FormatInt(int64(*b), 10)
}

func (b *byteSize) Set(s string) error {
	factor := int64(1)
	for _, unit := range []struct {
		suffix string
		factor int64
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}} {
		if n, ok := strings.CutSuffix(s, unit.suffix); ok {
			s, factor = n, unit.factor
		}
	}
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	if err != nil || n < 0 || n > (1<<40)/factor {
		return errors.New("want a size like 32MiB")
	}
	*b = byteSize(n * factor)
	return nil
}

// threshold is a size, or "learn".
type threshold int

const learn = "learn"

func (t *threshold) String() string {
	if int(*t) == choose.Learn {
		return learn
	}
	size := byteSize(*t)
	return size.String()
}

func (t *threshold) Set(s string) error {
	if s == learn {
		*t = threshold(choose.Learn)
		return nil
	}
	var size byteSize
	if size.Set(s) != nil || size > 1<<30 {
		return errors.New(`want a size like 1KiB, 0 for never, or "learn"`)
	}
	*t = threshold(size)
	return nil
}

// policy is how one of a pool is chosen.
type policy struct{ to *choose.Policy }

func (p policy) String() string {
	if p.to == nil || *p.to == "" {
		return string(choose.Auto)
	}
	return string(*p.to)
}

func (p policy) Set(s string) (err error) {
	*p.to, err = choose.ParsePolicy(s)
	return err
}

// authorities is a flag that names a PEM file of certificates.
type authorities struct{ pool **x509.CertPool }

func (authorities) String() string { return "" }

func (a authorities) Set(path string) error {
	pem, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return fmt.Errorf("%s holds no certificate in PEM", path)
	}
	*a.pool = pool
	return nil
}
