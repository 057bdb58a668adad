package load

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nomad-vllm/nomad-vllm/bench/router/traffic"
)

// pace is the time between two openings: all at once would measure the
// router's queue of accepts.
const pace = time.Second / 2000

// Streams opens as many streams as the cell has connections, calls allOpen
// when each has been asked for, and reads all of them to the end. allOpen
// waits until the engines hold them and lets them speak.
func Streams(ctx context.Context, t Target, cell traffic.Cell, allOpen func() error) (Result, error) {
	m := newMessages(t, cell)
	s := streams{m: m}
	s.asked.Add(cell.Conns)
	begin := time.Now()
	for n := range cell.Conns {
		time.Sleep(time.Until(begin.Add(time.Duration(n) * pace)))
		s.ended.Go(func() { s.one(ctx, n%traffic.Variants) })
	}
	s.asked.Wait()
	err := allOpen()
	if err != nil {
		s.abort()
	}
	s.ended.Wait()
	s.all.Elapsed = time.Since(begin)
	slices.Sort(s.all.Delays)
	return s.all, err
}

type streams struct {
	m            *messages
	asked, ended sync.WaitGroup

	mu      sync.Mutex
	aborted bool
	clients []*client
	all     Result
}

func (s *streams) one(ctx context.Context, variant int) {
	c, err := s.open(ctx, variant)
	s.asked.Done()
	if err == nil {
		defer c.close()
		err = c.receive()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.all.Requests++
	} else {
		s.all.Failed++
		if s.all.First == nil {
			s.all.First = err
		}
	}
	if c != nil {
		s.all.Delays = append(s.all.Delays, c.stream.delays...)
	}
}

func (s *streams) open(ctx context.Context, variant int) (*client, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	c, err := s.m.dial()
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	if err = s.keep(c); err == nil {
		err = c.send(variant)
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// keep makes abort know the client.
func (s *streams) keep(c *client) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.aborted {
		return errors.New("given up")
	}
	s.clients = append(s.clients, c)
	return nil
}

// abort ends every stream.
func (s *streams) abort() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.aborted = true
	for _, c := range s.clients {
		c.close()
	}
}
