//go:build !linux

package h1

import "errors"

// Supported reports whether this package can serve here.
const Supported = false

type watch struct{}

func newWatch() (*watch, error) { return nil, errors.New("h1: needs Linux; use net/http's server") }

func (*watch) add(*conn) error { return nil }
func (*watch) remove(*conn)    {}
func (*watch) close()          {}
