package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"time"
)

// patience is longer than the router's own limits for a request add up to.
const patience = 90 * time.Second

// Outcomes of a request. All but outcomeLost are answers.
const (
	outcomeWhole = "whole answers"
	outcomeError = "OpenAI-shaped errors"
	outcomeEvent = "streams ended by an error event"
	outcomeLeft  = "clients that left"
	outcomeLost  = "LOST"
)

// client sends one request after another, each in its own bad manner.
type client struct {
	router string // host:port
	dice   *rand.Rand
	http   *http.Client
	tally  *tally
	n      int
}

func (c *client) run(ctx context.Context) {
	defer c.http.CloseIdleConnections()
	for ctx.Err() == nil {
		c.n++
		stream := c.dice.IntN(2) == 0
		path, body := c.request(stream)
		switch d := c.dice.IntN(100); {
		case d < 65:
			c.ask(path, body, stream, 0)
		case d < 75:
			c.ask(path, body, stream, 30*time.Millisecond) // reads slowly
		case d < 90:
			c.leaves(path, body)
		case d < 95:
			c.halfBody(path, body)
		default:
			c.standsStill(path)
		}
		pause(ctx, time.Duration(c.dice.IntN(20))*time.Millisecond)
	}
}

// request is one of the two endpoints, with a prompt of its own.
func (c *client) request(stream bool) (path, body string) {
	words := fmt.Sprintf("case %d %d ", c.dice.Uint64(), c.n) + strings.Repeat("the prefill reads and the decode writes ", 1+c.dice.IntN(30))
	rest := fmt.Sprintf(`"max_tokens":%d,"temperature":0,"stream":%t`, 1+c.dice.IntN(40), stream)
	if c.dice.IntN(2) == 0 {
		return "/v1/completions", fmt.Sprintf(`{"model":"m","prompt":%q,%s}`, words, rest)
	}
	return "/v1/chat/completions", fmt.Sprintf(`{"model":"m","messages":[{"role":"user","content":%q}],%s}`, words, rest)
}

func (c *client) post(ctx context.Context, path, body string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+c.router+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	return c.http.Do(req)
}

// ask takes the answer, with a pause before each of its first pieces.
func (c *client) ask(path, body string, stream bool, slowly time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	started := time.Now()
	resp, err := c.post(ctx, path, body)
	if err != nil {
		c.tally.lost("no answer: %v", err)
		return
	}
	defer resp.Body.Close()
	var text strings.Builder
	in := bufio.NewReaderSize(resp.Body, 256)
	for n := 0; ; n++ {
		if slowly > 0 && n < 10 {
			pause(ctx, slowly)
		}
		line, err := in.ReadString('\n')
		text.WriteString(line)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			c.tally.lost("cut after %d bytes of a %d: %v", text.Len(), resp.StatusCode, err)
			return
		}
	}
	c.judge(resp, text.String(), stream, time.Since(started))
}

// judge decides whether what came is an answer.
func (c *client) judge(resp *http.Response, text string, stream bool, took time.Duration) {
	var answer struct {
		Choices []json.RawMessage
		Error   *struct{ Message, Type string }
	}
	if resp.StatusCode != http.StatusOK {
		if err := json.Unmarshal([]byte(text), &answer); err != nil || answer.Error == nil || answer.Error.Message == "" || answer.Error.Type == "" {
			c.tally.lost("a %d that is no OpenAI error: %.200q", resp.StatusCode, text)
			return
		}
		c.tally.ended(outcomeError, resp, took)
		return
	}
	if !stream {
		if err := json.Unmarshal([]byte(text), &answer); err != nil || len(answer.Choices) == 0 {
			c.tally.lost("a 200 that is no answer: %.200q", text)
			return
		}
		c.tally.ended(outcomeWhole, resp, took)
		return
	}
	switch {
	case !strings.HasSuffix(text, "data: [DONE]\n\n"):
		c.tally.lost("a stream without an end: ...%q", text[max(0, len(text)-200):])
	case strings.Contains(text, `data: {"error"`):
		c.tally.ended(outcomeEvent, resp, took)
	case strings.Contains(text, `"finish_reason":"`):
		c.tally.ended(outcomeWhole, resp, took)
	default:
		c.tally.lost("a stream that never finished: %.200q", text)
	}
}

// leaves takes the request back at some moment.
func (c *client) leaves(path, body string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(c.dice.IntN(150))*time.Millisecond)
	defer cancel()
	if resp, err := c.post(ctx, path, body); err == nil {
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	c.tally.count(outcomeLeft)
}

// halfBody leaves before its request is complete, at once or when it has been
// told that it is too slow.
func (c *client) halfBody(path, body string) {
	conn := c.dial(path, len(body), body[:len(body)/2])
	if conn == nil {
		return
	}
	defer conn.Close()
	if c.dice.IntN(2) == 0 {
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			c.tally.lost("half a body, and no answer: %v", err)
			return
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		c.judge(resp, string(b), false, 0)
		return
	}
	c.tally.count(outcomeLeft)
}

// standsStill asks for a long answer and reads nothing of it for longer than
// the router waits.
func (c *client) standsStill(path string) {
	body := `{"model":"m","prompt":"x","messages":[{"role":"user","content":"x"}],"max_tokens":2000,"ignore_eos":true,"stream":true}`
	conn := c.dial(path, len(body), body)
	if conn == nil {
		return
	}
	defer conn.Close()
	pause(context.Background(), writeTimeout*3/2)
	c.tally.count(outcomeLeft)
}

func (c *client) dial(path string, length int, body string) net.Conn {
	conn, err := net.DialTimeout("tcp", c.router, patience)
	if err == nil {
		_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", path, length, body)
	}
	if err != nil {
		c.tally.lost("cannot ask: %v", err)
		return nil
	}
	return conn
}
