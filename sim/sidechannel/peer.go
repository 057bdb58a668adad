package sidechannel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/nomad-vllm/nomad-vllm/sim/kv"
)

// Timeout is how long a first contact is tried, a refused connection
// included: vLLM's ZMQ socket reconnects silently until its receive times out.
const Timeout = 5 * time.Second

// retryEvery is the pause between two attempts of a first contact.
const retryEvery = 50 * time.Millisecond

// ErrEngineID is wrapped when the engine at an address is another than the
// expected one.
var ErrEngineID = errors.New("engine id mismatch")

// DialFunc opens a connection, as net.Dialer.DialContext does.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// Peer is a decode's connection to one prefill engine.
type Peer struct {
	dial     DialFunc
	address  string
	engineID string

	turn chan struct{} // holds one token; whoever has it may use conn
	conn net.Conn
	meta Meta
}

// NewPeer makes the connection's state; nothing is dialled before Connect.
func NewPeer(dial DialFunc, address, engineID string) *Peer {
	p := &Peer{dial: dial, address: address, engineID: engineID, turn: make(chan struct{}, 1)}
	p.turn <- struct{}{}
	return p
}

// Connect makes first contact, trying for as long as Timeout, and checks that
// the engine there is the expected one.
func (p *Peer) Connect(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	return p.exclusive(ctx, func() error {
		for {
			err := p.open(ctx)
			if err == nil || errors.Is(err, ErrEngineID) {
				return err
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("handshake with %s: %w", p.address, err)
			case <-time.After(retryEvery):
			}
		}
	})
}

// open dials once and shakes hands.
func (p *Peer) open(ctx context.Context) error {
	conn, err := p.dial(ctx, "tcp", p.address)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	var res response
	if err := writeMessage(conn, request{Op: opMeta}); err != nil {
		conn.Close()
		return err
	}
	if err := readMessage(conn, &res); err != nil {
		conn.Close()
		return err
	}
	if res.Meta == nil || res.Meta.WireBytes < slotBytes {
		conn.Close()
		return fmt.Errorf("no metadata from %s", p.address)
	}
	if res.Meta.EngineID != p.engineID {
		conn.Close()
		return fmt.Errorf("%w at %s: have %q, expected %q", ErrEngineID, p.address, res.Meta.EngineID, p.engineID)
	}
	p.conn, p.meta = conn, *res.Meta
	return nil
}

// Read fetches blocks. It fails at once if the connection is gone and cannot
// be had again with one attempt. The number of bytes that crossed is returned.
func (p *Peer) Read(ctx context.Context, ids []int, blockSize int) (blocks [][]kv.Slot, bytes int, err error) {
	err = p.exclusive(ctx, func() error {
		return p.again(ctx, func() error {
			blocks, bytes, err = p.read(ids, blockSize)
			return err
		})
	})
	return blocks, bytes, err
}

func (p *Peer) read(ids []int, blockSize int) ([][]kv.Slot, int, error) {
	if p.meta.BlockSize != blockSize {
		return nil, 0, fmt.Errorf("block size %d of the prefill, %d here", p.meta.BlockSize, blockSize)
	}
	if err := writeMessage(p.conn, request{Op: opRead, Blocks: ids}); err != nil {
		return nil, 0, broken{err}
	}
	var res response
	if err := readMessage(p.conn, &res); err != nil {
		return nil, 0, broken{err}
	}
	if res.Error != "" {
		return nil, 0, errors.New(res.Error)
	}
	blocks := make([][]kv.Slot, len(ids))
	body := make([]byte, blockSize*p.meta.WireBytes)
	for i := range ids {
		if _, err := io.ReadFull(p.conn, body); err != nil {
			return nil, 0, broken{err}
		}
		blocks[i] = decodeBlock(body, p.meta.WireBytes)
	}
	return blocks, res.Bytes, nil
}

// Done tells the prefill that a request's blocks are no longer needed here.
func (p *Peer) Done(ctx context.Context, id string) error {
	return p.notify(ctx, request{Op: opDone, Requests: []string{id}})
}

// Heartbeat tells the prefill that requests' blocks will still be read.
func (p *Peer) Heartbeat(ctx context.Context, ids []string) error {
	return p.notify(ctx, request{Op: opHeartbeat, Requests: ids})
}

func (p *Peer) notify(ctx context.Context, req request) error {
	return p.exclusive(ctx, func() error {
		return p.again(ctx, func() error {
			if err := writeMessage(p.conn, req); err != nil {
				return broken{err}
			}
			var res response
			if err := readMessage(p.conn, &res); err != nil {
				return broken{err}
			}
			return nil
		})
	})
}

// broken marks an error of the connection, as opposed to one of the answer.
type broken struct{ error }

func (b broken) Unwrap() error { return b.error }

// again runs do over the connection, and once more over a new one if the
// connection turned out to be dead. Cancelling ctx cuts the connection.
func (p *Peer) again(ctx context.Context, do func() error) error {
	for attempt := 0; ; attempt++ {
		if p.conn == nil {
			if err := p.open(ctx); err != nil {
				return err
			}
		}
		stop := context.AfterFunc(ctx, func(c net.Conn) func() { return func() { c.Close() } }(p.conn))
		err := do()
		cut := !stop()
		var b broken
		if !errors.As(err, &b) && !cut {
			return err
		}
		p.conn.Close()
		p.conn = nil
		if attempt > 0 || ctx.Err() != nil {
			return err
		}
	}
}

func (p *Peer) exclusive(ctx context.Context, do func() error) error {
	select {
	case <-p.turn:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { p.turn <- struct{}{} }()
	return do()
}

// Close cuts the connection once nobody uses it.
func (p *Peer) Close() {
	<-p.turn
	if p.conn != nil {
		p.conn.Close()
		p.conn = nil
	}
	p.turn <- struct{}{}
}
