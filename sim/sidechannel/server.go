package sidechannel

import (
	"net"
	"sync"

	"github.com/nomad-vllm/nomad-vllm/sim/kv"
)

// Holder is the engine behind a side channel.
type Holder interface {
	// ReadBlocks returns what the blocks hold now.
	ReadBlocks(ids []int) ([][]kv.Slot, error)
	// ReadDone says that a request's blocks are no longer needed.
	ReadDone(requests []string)
	// Heartbeat says that requests' blocks will still be read.
	Heartbeat(requests []string)
}

// Server answers the decodes that come to one prefill.
type Server struct {
	ln     net.Listener
	meta   Meta
	holder Holder

	mu     sync.Mutex
	conns  map[net.Conn]struct{}
	closed bool
	wg     sync.WaitGroup
}

// Serve starts answering on a listener, which it owns from then on.
func Serve(ln net.Listener, meta Meta, holder Holder) *Server {
	meta.WireBytes = max(meta.WireBytes, slotBytes)
	s := &Server{ln: ln, meta: meta, holder: holder, conns: map[net.Conn]struct{}{}}
	s.wg.Add(1)
	go s.accept()
	return s
}

// Close stops listening, cuts every connection and waits.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	for c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()
	s.ln.Close()
	s.wg.Wait()
}

func (s *Server) accept() {
	defer s.wg.Done()
	for {
		conn, err := s.ln.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			conn.Close()
			return
		}
		s.conns[conn] = struct{}{}
		s.wg.Add(1)
		s.mu.Unlock()
		go s.serve(conn)
	}
}

func (s *Server) serve(conn net.Conn) {
	defer s.wg.Done()
	defer func() {
		s.mu.Lock()
		delete(s.conns, conn)
		s.mu.Unlock()
		conn.Close()
	}()
	for {
		var req request
		if err := readMessage(conn, &req); err != nil {
			return
		}
		if err := s.answer(conn, req); err != nil {
			return
		}
	}
}

func (s *Server) answer(conn net.Conn, req request) error {
	switch req.Op {
	case opMeta:
		return writeMessage(conn, response{Meta: &s.meta})
	case opRead:
		return s.read(conn, req.Blocks)
	case opDone, opHeartbeat:
	default:
		return writeMessage(conn, response{Error: "unknown operation " + req.Op})
	}
	// Acknowledged before it is acted on: freeing the last lease may end a
	// prefill that drains, and its decode must not take that for a failure.
	if err := writeMessage(conn, response{}); err != nil {
		return err
	}
	if req.Op == opDone {
		s.holder.ReadDone(req.Requests)
	} else {
		s.holder.Heartbeat(req.Requests)
	}
	return nil
}

func (s *Server) read(conn net.Conn, ids []int) error {
	blocks, err := s.holder.ReadBlocks(ids)
	if err != nil {
		return writeMessage(conn, response{Error: err.Error()})
	}
	if err := writeMessage(conn, response{Bytes: len(ids) * s.meta.BlockSize * s.meta.WireBytes}); err != nil {
		return err
	}
	for _, slots := range blocks {
		if _, err := conn.Write(encodeBlock(slots, s.meta.WireBytes)); err != nil {
			return err
		}
	}
	return nil
}
