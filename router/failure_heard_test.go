package router

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// heard is what a client library makes of a stream.
type heard struct {
	text  string
	whole bool   // the reason of the answer's end and the stream's own end came, and no error
	err   string // the message of its error event
	rest  string // what came after that
}

// said is one event of any of the protocols.
type said struct {
	Type    string
	Choices []struct {
		Text   string
		Delta  struct{ Content string }
		Finish string `json:"finish_reason"`
	}
	Delta    json.RawMessage
	Error    *struct{ Message string }
	Message  json.RawMessage // an error's text, or a message that starts
	Response struct {
		Status string
		Error  *struct{ Message string }
	}
	Sequence int `json:"sequence_number"`
}

// hear reads a stream as the endpoint's client library does.
func (d dialect) hear(t *testing.T, stream string) (h heard) {
	t.Helper()
	reason, ended := false, false
	for n, rest := 0, stream; rest != ""; n++ {
		var event string
		event, rest, _ = strings.Cut(strings.TrimLeft(rest, "\n"), "\n\n")
		require.False(t, ended, "more after the end: %s", stream)
		name, doc, _ := strings.Cut(event, "data: ")
		if doc == "[DONE]" {
			ended = true
			continue
		}
		var e said
		require.NoError(t, json.Unmarshal([]byte(doc), &e), stream)
		if name != "" {
			require.Equal(t, "event: "+e.Type+"\n", name)
		}
		if h.err = e.failure(); h.err != "" {
			if e.Type == "error" && d.path == responsesPath {
				require.Equal(t, n, e.Sequence, "it goes on counting")
			}
			h.rest = rest
			return h
		}
		h.text += e.text()
		reason = reason || e.reason()
		ended = e.Type == "message_stop" || e.Type == "response.completed"
	}
	h.whole = reason && ended
	return h
}

// failure is the message of an error event, empty for another.
func (e said) failure() string {
	switch {
	case e.Error != nil:
		return e.Error.Message
	case e.Type == "response.failed":
		return e.Response.Error.Message
	case e.Type == "error":
		return string(e.Message)
	}
	return ""
}

func (e said) text() (text string) {
	for _, c := range e.Choices {
		text += c.Text + c.Delta.Content
	}
	var delta struct{ Text string }
	var words string
	_, _ = json.Unmarshal(e.Delta, &delta), json.Unmarshal(e.Delta, &words) // either, by the protocol
	return text + delta.Text + words
}

// reason reports whether the event says why the answer ends.
func (e said) reason() bool {
	for _, c := range e.Choices {
		if c.Finish != "" {
			return true
		}
	}
	var delta struct {
		Reason string `json:"stop_reason"`
	}
	_ = json.Unmarshal(e.Delta, &delta) // a string where it is text
	return delta.Reason != "" || e.Response.Status == "completed" || e.Response.Status == "incomplete"
}
