package sse

import (
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

// Events as real vLLM 0.32 writes them, without what nobody looks at.
const (
	created    = "event: response.created\ndata: {\"response\":{\"id\":\"resp_1\",\"status\":\"in_progress\",\"usage\":null},\"sequence_number\":0,\"type\":\"response.created\"}\n\n"
	inProgress = "event: response.in_progress\ndata: {\"response\":{\"status\":\"in_progress\",\"usage\":null},\"sequence_number\":1,\"type\":\"response.in_progress\"}\n\n"
	itemAdded  = "event: response.output_item.added\ndata: {\"item\":{\"content\":[]},\"sequence_number\":2,\"type\":\"response.output_item.added\"}\n\n"
	textDelta  = "event: response.output_text.delta\ndata: {\"delta\":\" a\",\"sequence_number\":3,\"type\":\"response.output_text.delta\"}\n\n"
	failed     = "event: response.failed\ndata: {\"response\":{\"status\":\"failed\",\"usage\":null},\"sequence_number\":4,\"type\":\"response.failed\"}\n\n"

	messageStart = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"content\":[],\"stop_reason\":null,\"usage\":{\"input_tokens\":12,\"output_tokens\":0}}}\n\n"
	blockStart   = "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"content_block\":{\"type\":\"text\",\"text\":\"\"},\"index\":0}\n\n"
	blockDelta   = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\" of\"},\"index\":0}\n\n"
	messageStop  = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"
	messageError = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"internal_error\",\"message\":\"x\"}}\n\n"
)

func completed(status, tokens string) string {
	return "event: response.completed\ndata: {\"response\":{\"status\":\"" + status + "\",\"usage\":{\"output_tokens\":" + tokens + "}},\"type\":\"response.completed\"}\n\n"
}

func messageDelta(reason, tokens string) string {
	return "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":" + reason + "},\"usage\":{\"output_tokens\":" + tokens + "}}\n\n"
}

func TestGate_verdictsOfNamedEvents(t *testing.T) {
	for name, c := range map[string]struct {
		protocol Protocol
		stream   string
		want     Verdict
	}{
		"response":                   {Responses, created + inProgress + itemAdded + textDelta, Token},
		"response failed":            {Responses, created + inProgress + failed, Failed},
		"response error":             {Responses, created + "event: error\ndata: {\"type\":\"error\",\"message\":\"x\"}\n\n", Failed},
		"response error untyped":     {Responses, created + "event: unknown\ndata: {\"error\":{\"code\":500}}\n\n", Failed},
		"response failed later":      {Responses, created + textDelta + failed, Token},
		"response without a token":   {Responses, created + inProgress + itemAdded + completed("completed", "0"), Empty},
		"response given up":          {Responses, created + completed("cancelled", "0"), Aborted},
		"response of unseen tokens":  {Responses, created + completed("completed", "3"), Token}, // a parser swallowed them
		"response only announced":    {Responses, created + inProgress, Empty},
		"message":                    {Messages, messageStart + blockStart + blockDelta, Token},
		"message error":              {Messages, messageStart + messageError, Failed},
		"message error later":        {Messages, messageStart + blockStart + blockDelta + messageError, Token},
		"message given up":           {Messages, messageStart + messageDelta("null", "0") + messageStop, Aborted},
		"message without a token":    {Messages, messageStart + messageDelta(`"end_turn"`, "0") + messageStop, Empty},
		"message of an unseen token": {Messages, messageStart + messageDelta(`"end_turn"`, "1") + messageStop, Token},
		"message that only stops":    {Messages, messageStart + messageStop, Empty},
		"message ping":               {Messages, messageStart + "event: ping\ndata: {\"type\":\"ping\"}\n\n", Empty},
	} {
		t.Run(name, func(t *testing.T) {
			_, v, err := c.protocol.Gate(iotest.OneByteReader(strings.NewReader(c.stream)), make([]byte, 64))
			require.NoError(t, err)
			require.Equal(t, c.want, v)
		})
	}
}

func TestJudgeWhole_verdictsOfNamedProtocols(t *testing.T) {
	for _, c := range []struct {
		protocol Protocol
		answer   string
		want     Verdict
	}{
		{Responses, `{"status":"incomplete","output":[{"type":"message"}],"usage":{"output_tokens":4,"output_tokens_details":{"tool_output_tokens":0}}}`, Token},
		{Responses, `{"status":"completed","output":[],"usage":{"output_tokens":0,"output_tokens_details":{}}}`, Empty},
		{Responses, `{"status":"cancelled","output":[],"usage":{"output_tokens":2}}`, Aborted},
		{Messages, `{"type":"message","stop_reason":"end_turn","usage":{"input_tokens":0,"output_tokens":4}}`, Token},
		{Messages, `{"type":"message","content":[{"type":"text","text":""}],"usage":{"input_tokens":1,"output_tokens":0}}`, Aborted},
		{Messages, `{"type":"message","stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":0}}`, Empty},
		{Responses, `{"status":"completed","metadata":{"status":"cancelled"},"tools":[{"parameters":{"output_tokens":0}}],"usage":{"output_tokens":4}}`, Token}, // the request's words
		{Messages, `{"type":"message","content":[{"type":"tool_use","input":{"output_tokens":0}}],"stop_reason":"tool_use","usage":{"output_tokens":9}}`, Token},
		{Messages, `{"type":"message","content":[{"type":"tool_use","input":{"stop_reason":"x"}}],"usage":{"output_tokens":9}}`, Aborted},
		{Messages, `{"type":"message","stop_reason":"end_turn","usage":{}`, Garbage},
		{Responses, `<html>`, Garbage},
		{Responses, `{"status":1,"usage":{"output_tokens":2}}`, Token},
	} {
		require.Equal(t, c.want, c.protocol.JudgeWhole([]byte(c.answer)), c.answer)
	}
}

func TestWatch_findsNamedErrorsHoweverTheyAreCut(t *testing.T) {
	for protocol, stream := range map[Protocol]string{
		Responses: created + inProgress + textDelta + failed,
		Messages:  messageStart + blockStart + blockDelta + messageError,
	} {
		for size := 1; size < len(stream); size++ {
			w := Watch{Protocol: protocol}
			found := 0
			for rest := stream; rest != ""; rest = rest[min(size, len(rest)):] {
				if w.Failed([]byte(rest[:min(size, len(rest))])) {
					found++
				}
			}
			require.Equal(t, 1, found, "protocol %d in pieces of %d", protocol, size)
			if protocol == Responses {
				require.Contains(t, string(w.ErrorEvents(nil, []byte(`"k"`), []byte(`"m"`))), `"sequence_number":4}`, "pieces of %d", size)
			}
		}
		w := Watch{Protocol: protocol}
		require.False(t, w.Failed([]byte(strings.ReplaceAll(textDelta+blockDelta, " a", "event: error data: {"))), "text is no error")
	}
}

func TestErrorEvents_areTheProtocols(t *testing.T) {
	whole, kind, message := []byte(`{"error":{}}`), []byte(`"K"`), []byte(`"gone"`)
	for protocol, want := range map[Protocol]string{
		OpenAI:    "\n\ndata: {\"error\":{}}\n\ndata: [DONE]\n\n",
		Responses: "\n\nevent: error\ndata: {\"type\":\"error\",\"code\":\"K\",\"message\":\"gone\",\"param\":null,\"sequence_number\":0}\n\n",
		Messages:  "\n\nevent: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"K\",\"message\":\"gone\"}}\n\n",
	} {
		w := Watch{Protocol: protocol}
		require.Equal(t, want, string(w.ErrorEvents(whole, kind, message)))
	}
}
