// Package fault reads and applies scripted faults: what goes wrong, at which
// generation requests.
//
//	script = fault { ";" fault }
//	fault  = kind "@" when [ "=" value ] [ "/" filter ]
//	kind   = "die" | "engine" | "hang" | "cut" | "slow" | a status from 400 to 599
//	when   = "*" | N | N ".." M | N ".."
//	filter = "prefill" | "decode" | "local" | "chat" | "completions" | "responses" | "messages"
//
// die ends the process at once, without an answer; engine kills the engine (500,
// then the process exits with code 0); hang never answers; cut ends a stream
// abruptly after value events (default 2); slow delays the request by value, a
// duration; a status is answered as an error. Requests are counted from 1, those that a filter
// leaves out are not counted by its fault. Examples: "die@5", "hang@3..4;500@2",
// "slow@7=2s", "503@*/prefill".
//
// A Script may be used by several goroutines.
package fault

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Kind of a fault.
type Kind string

// The kinds; a Status fault carries its number.
const (
	Die    Kind = "die"
	Engine Kind = "engine"
	Hang   Kind = "hang"
	Cut    Kind = "cut"
	Slow   Kind = "slow"
	Status Kind = "status"
)

// Fault is one rule of a script.
type Fault struct {
	Kind     Kind
	From, To int // inclusive; To 0: no end
	Status   int
	Delay    time.Duration
	Events   int
	Filter   string

	seen int
}

// Script is a set of faults and the counts of requests that they have seen.
type Script struct {
	mu     sync.Mutex
	faults []Fault
	text   string
}

var filters = [...]string{"", "prefill", "decode", "local", "chat", "completions", "responses", "messages"}

// Parse reads a script; the empty text is a script without faults.
func Parse(text string) (*Script, error) {
	s := &Script{}
	if err := s.Replace(text); err != nil {
		return nil, err
	}
	return s, nil
}

// Replace puts another script in place of this one and counts anew. On an
// error the old one stays.
func (s *Script) Replace(text string) error {
	var faults []Fault
	for _, part := range strings.Split(text, ";") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		f, err := parseOne(part)
		if err != nil {
			return fmt.Errorf("fault %q: %w", part, err)
		}
		faults = append(faults, f)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults, s.text = faults, text
	return nil
}

// Text is the script as it was given.
func (s *Script) Text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text
}

// Next counts a request that has the given properties and returns the faults
// that strike it, in the script's order.
func (s *Script) Next(properties ...string) []Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	var hit []Fault
	for i := range s.faults {
		f := &s.faults[i]
		if f.Filter != "" && !contains(properties, f.Filter) {
			continue
		}
		f.seen++
		if f.seen >= f.From && (f.To == 0 || f.seen <= f.To) {
			hit = append(hit, *f)
		}
	}
	return hit
}

func parseOne(text string) (Fault, error) {
	body, filter, _ := strings.Cut(text, "/")
	if !contains(filters[:], filter) {
		return Fault{}, fmt.Errorf("filter %q: want one of %s", filter, strings.Join(filters[1:], ", "))
	}
	kind, rest, ok := strings.Cut(body, "@")
	if !ok {
		return Fault{}, fmt.Errorf(`no "@": want KIND@WHEN, "die@5" for example`)
	}
	when, value, hasValue := strings.Cut(rest, "=")
	f := Fault{Kind: Kind(kind), Filter: filter, Events: 2}
	var err error
	if f.From, f.To, err = parseWhen(when); err != nil {
		return Fault{}, err
	}
	switch f.Kind {
	case Slow:
		f.Delay, err = time.ParseDuration(value)
	case Cut:
		if hasValue {
			f.Events, err = strconv.Atoi(value)
		}
	case Die, Engine, Hang:
	default:
		f.Kind = Status
		f.Status, err = strconv.Atoi(kind)
		if err != nil || f.Status < 400 || f.Status > 599 {
			return Fault{}, fmt.Errorf("kind %q: want die, engine, hang, cut, slow or a status from 400 to 599", kind)
		}
	}
	return f, err
}

func parseWhen(text string) (from, to int, err error) {
	if text == "*" {
		return 1, 0, nil
	}
	lo, hi, isRange := strings.Cut(text, "..")
	if from, err = strconv.Atoi(lo); err != nil || from < 1 {
		return 0, 0, fmt.Errorf(`when %q: want "*", N, "N..M" or "N..", counted from 1`, text)
	}
	if !isRange {
		return from, from, nil
	}
	if hi == "" {
		return from, 0, nil
	}
	if to, err = strconv.Atoi(hi); err != nil || to < from {
		return 0, 0, fmt.Errorf("when %q: the end is before the start", text)
	}
	return from, to, nil
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}
