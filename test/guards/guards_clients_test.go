package guards

// clientGuards are those of clients that fail and of the router's own end.
func clientGuards() []guard {
	const request, relay, command = "router/request.go", "router/relay.go", "cmd/pd-router/main.go"
	return []guard{
		{
			name: "half a request is a client that left", file: request,
			old: "if errors.Is(err, io.ErrUnexpectedEOF) {", new: "if false {",
			rows: []string{"client-gone-before"},
		},
		{
			name: "leg 1 ends with its client", file: "router/prefill.go",
			old: "resp, err := t.s.client.Do(ctx,", new: "resp, err := t.s.client.Do(context.WithoutCancel(ctx),",
			rows: []string{"client-gone-prefill", "client-gone-between"},
		},
		{
			name: "no leg follows a client that left", file: "router/prefill.go",
			old: "case ctx.Err() != nil:\n\t\t\treturn nil, \"\", context.Cause(ctx)", new: "case false:",
			rows: []string{"client-gone-between"},
		},
		{
			name: "leg 2 ends with its client", file: "router/decode.go",
			old: "resp, err := t.s.client.Do(ctx,", new: "resp, err := t.s.client.Do(context.WithoutCancel(ctx),",
			rows: []string{"client-gone-decode", "client-gone-midstream"},
		},
		{
			name: "the write timeout is not for the whole answer", file: relay,
			old: "if now.Sub(t.writing) > t.s.cfg.WriteTimeout/4 {", new: "if t.writing.IsZero() {",
			rows: []string{"client-slow"},
		},
		{
			name: "a client that takes nothing has a time limit", file: relay,
			old: "SetWriteDeadline(now.Add(t.s.cfg.WriteTimeout))", new: "SetWriteDeadline(now.Add(time.Hour))",
			rows: []string{"client-stands-still"},
		},
		{
			name: "a body has a time limit", file: request,
			old: "t.out.queued + t.s.cfg.BodyTimeout", new: "t.out.queued + time.Hour",
			rows: []string{"client-slow-body"},
		},
		{
			name: "the stop waits for what runs", file: command,
			old: "context.WithTimeout(context.WithoutCancel(ctx), drain)", new: "context.WithTimeout(ctx, drain)",
			rows: []string{"router-stops"}, pkg: inCommand,
		},
		{
			name: "the stop closes the listener", file: "router/h1/server.go",
			old: "for l := range s.listeners {\n\t\t_ = l.Close()", new: "for l := range s.listeners {\n\t\t_ = l",
			rows: []string{"router-stops"}, pkg: inCommand,
		},
		{
			name: "what overruns the stop is cut off by the router", file: command,
			old: "server.CutOff()\n", new: "",
			rows: []string{"router-stops-overrun"}, pkg: inCommand,
		},
	}
}
