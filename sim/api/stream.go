package api

import (
	"context"
	"errors"
	"net/http"
)

// events writes a text/event-stream.
type events struct {
	w    http.ResponseWriter
	rc   *http.ResponseController
	left int // events until the stream is cut; 0: never
}

// errCut ends a stream that a fault cuts.
var errCut = errors.New("cut by a fault")

func (j *job) openEvents(w http.ResponseWriter) *events {
	j.orca(w)
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	w.WriteHeader(http.StatusOK)
	e := &events{w: w, rc: http.NewResponseController(w), left: j.cut}
	_ = e.rc.Flush() // fails only if the client has gone, which the next write finds too
	return e
}

// send writes one event.
func (e *events) send(v any) error { return e.raw("data: " + string(marshal(v)) + "\n\n") }

// named writes one event with a name, as the responses and messages endpoints do.
func (e *events) named(name string, v any) error {
	return e.raw("event: " + name + "\ndata: " + string(marshal(v)) + "\n\n")
}

func (e *events) raw(text string) error {
	if e.left > 0 {
		if e.left--; e.left == 0 {
			return errCut
		}
	}
	if _, err := e.w.Write([]byte(text)); err != nil {
		return err
	}
	return e.rc.Flush()
}

// closeNamed ends a stream of named events, which has no end of its own, with
// what report sends. Without report the connection ends with it.
func (e *events) closeNamed(err error, report func(*failure) error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	if report == nil || errors.Is(err, errCut) || report(asFailure(err)) != nil {
		panic(http.ErrAbortHandler)
	}
}

// close ends the stream: with an error event if there was an error, and always
// with [DONE]. A cut stream ends with neither, and with its connection.
func (e *events) close(err error) {
	switch {
	case errors.Is(err, errCut):
		panic(http.ErrAbortHandler)
	case errors.Is(err, context.Canceled):
		return
	case err != nil:
		f := asFailure(err)
		if e.raw(`data: {"error": `+string(marshal(f))+"}\n\n") != nil {
			return
		}
	}
	_ = e.raw("data: [DONE]\n\n") // nobody is left to hear of a failure
}
