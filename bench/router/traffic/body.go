package traffic

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// Variants is the number of different prompts of each size, so that a router
// with prefix affinity has something to tell apart.
const Variants = 32

// MaxTokens is what every client asks for.
const MaxTokens = 100

// Tag rides in the request's "user" field: it tells the engine which request
// the client sent, hence how to answer and what must have arrived.
type Tag struct {
	Answer  Answer
	Size    Size
	Variant int
}

func (t Tag) String() string {
	return t.Answer.Name + "/" + t.Size.Name + "/" + strconv.Itoa(t.Variant)
}

// ParseTag is the reverse of String.
func ParseTag(s string) (Tag, error) {
	parts := strings.Split(s, "/")
	if len(parts) != 3 {
		return Tag{}, fmt.Errorf("user %q is no tag of the benchmark", s)
	}
	t := Tag{}
	for _, a := range Answers() {
		if a.Name == parts[0] {
			t.Answer = a
		}
	}
	for _, size := range Sizes() {
		if size.Name == parts[1] {
			t.Size = size
		}
	}
	n, err := strconv.Atoi(parts[2])
	if err != nil || n < 0 || n >= Variants || t.Answer.Name == "" || t.Size.Name == "" {
		return Tag{}, fmt.Errorf("user %q is no tag of the benchmark", s)
	}
	t.Variant = n
	return t, nil
}

// message is long enough for a turn of a chat, with what makes JSON strings
// more than a copy: escaped quotes, newlines and letters beyond ASCII.
const message = "He asked: \"what does it cost?\"\nThen he read the table again, line by line, and wrote the figures down – " +
	"naïve, but it worked.\n\tfor i := range rows { sum += rows[i] }\n"

type turn struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// Body is the request of a tag, compact JSON of about the size's bytes.
func Body(t Tag) []byte {
	request := struct {
		Model     string `json:"model"`
		Messages  []turn `json:"messages"`
		MaxTokens int    `json:"max_tokens"`
		Stream    bool   `json:"stream"`
		User      string `json:"user"`
	}{Model: Model, MaxTokens: MaxTokens, Stream: t.Answer.Stream(), User: t.String()}
	request.Messages = []turn{{"user", fmt.Sprintf("prompt %d:", t.Variant)}}
	missing := t.Size.Bytes - len(marshal(request))
	if t.Size.Bytes < 1024 {
		request.Messages[0].Content += strings.Repeat("x", max(0, missing))
		return marshal(request)
	}
	roles := []string{"user", "assistant"}
	for missing > 0 {
		n := min(2048, missing)
		text := fmt.Sprintf("%d.%d ", t.Variant, len(request.Messages)) + strings.Repeat(message, n/len(message)+1)
		// Escapes make a string longer on the wire than it is.
		next := turn{roles[len(request.Messages)%2], text[:n-n/16]}
		request.Messages = append(request.Messages, next)
		missing -= len(marshal(next)) + 1
	}
	return marshal(request)
}

func marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings and numbers always marshal
	}
	return b
}
