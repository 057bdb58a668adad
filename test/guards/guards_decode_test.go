package guards

// decodeGuards are those of leg 2 and of what comes after it failed.
func decodeGuards() []guard {
	const file, trip = "router/decode.go", "router/trip.go"
	return []guard{
		{
			name: "params that nobody saw are another decode's", file: file,
			old: "if !notSent(err) || dial", new: "if true || dial",
			rows: []string{"decode-refuses"},
		},
		{
			name: "no decode to connect to is 503", file: trip,
			old: "if notSent(err) {", new: "if false {",
			rows: []string{"decode-all-refuse"},
		},
		{
			name: "an instance that broke off may be its own fault", file: trip,
			old: "if t.broken < maxBroken {", new: "if t.broken < 1 {",
			rows: []string{
				"prefill-resets-before", "prefill-resets-within", "decode-resets-before", "decode-resets-before-token",
				"decode-resets-midjson", "decode-hangs-before-token", "decode-hangs-json",
			},
		},
		{
			name: "two that broke off are the request's fault", file: trip,
			old: "if t.broken < maxBroken {", new: "if t.broken < 100 {",
			rows: []string{"decode-resets-always", "request-breaks-engines"},
		},
		{
			name: "a failed decode gets a fresh handoff", file: trip,
			old: "if t.handedOver >= maxHandoffs {", new: "if t.handedOver >= 1 {",
			rows: []string{
				"decode-resets-before", "decode-resets-before-token", "decode-resets-midjson", "decode-hangs-before-token", "decode-hangs-json",
				"decode-401", "decode-403", "decode-404", "decode-all-404", "decode-429", "decode-500", "decode-503",
				"decode-error-event", "decode-empty-stream", "decode-empty-json", "decode-garbage", "decode-always-garbage", "decode-abort",
				"decode-fails-always", "decode-last-error", "side-channel-dead", "side-channels-dead", "lease-expired", "prefill-restarts-between",
			},
		},
		{
			name: "one fresh handoff is all", file: trip,
			old: "if t.handedOver >= maxHandoffs {", new: "if t.handedOver >= 100 {",
			rows: []string{"decode-fails-always", "lease-expired"},
		},
		{
			name: "a stream is held until its first token", file: file,
			old: "a.held, a.verdict, err = t.watch.Protocol.Gate(a.resp, t.page.B)", new: "a.verdict = sse.Token",
			rows: []string{
				"decode-resets-before-token", "decode-resets-always", "decode-hangs-before-token", "decode-error-event", "decode-empty-stream", "decode-abort",
				"side-channel-dead",
			},
		},
		{
			name: "a JSON answer is held until it is whole", file: file,
			old: "for !a.whole && n < maxHeld {", new: "for !a.whole && n < 0 {",
			rows: []string{"decode-resets-midjson", "decode-empty-json", "decode-garbage", "decode-always-garbage"},
		},
		{
			name: "a stream has a time limit to begin", file: file,
			old: "limit = t.s.cfg.FirstTokenTimeout", new: "limit = time.Hour",
			rows: []string{"decode-hangs-before-token"},
		},
		{
			name: "a JSON answer has a time limit", file: file,
			old: "limit := t.s.cfg.AnswerTimeout", new: "limit := time.Hour",
			rows: []string{"decode-hangs-json"},
		},
		{
			name: "these limits are for the slow as well", file: file,
			old: "t.request(d, started, limit)", new: "t.request(d, started, 20*time.Millisecond)",
			rows: []string{"decode-slow"},
		},
		{
			name: "a pause in a stream has a time limit", file: "router/relay.go",
			old: "return r.SetDeadline(now.Add(w.limit))", new: "return r.SetDeadline(now.Add(time.Hour))",
			rows: []string{"decode-stalls"},
		},
		{
			name: "a stream that ends early is told so", file: "router/relay.go",
			old: "typ, message := e.parts()\n\t_, _ = t.w.Write(t.watch.ErrorEvents(e.body(), typ, message)) // the client may be gone\n", new: "",
			rows: []string{"decode-resets-midstream", "decode-ends-midstream", "decode-stalls"},
		},
		{
			name: "a stream without its last event is no whole one", file: "router/relay.go",
			old: "a.stream && !t.req.passed && !t.watch.Over()", new: "false",
			rows: []string{"decode-ends-midstream"},
		},
		{
			name: "who is cut off at the stop is told so", file: "router/relay.go",
			old: "t.breakOff(a, metrics.StreamStopped, errStopping())", new: "t.out.code = statusClientGone",
			rows: []string{"router-stops-overrun"}, pkg: inCommand,
		},
		{
			name: "a decode's 4xx is the request's fault", file: file,
			old: "(code < 400 || clientsFault(code) && !ownFault(code))", new: "code < 400",
			rows: []string{"decode-400"},
		},
		{
			name: "an error event before a token is no answer", file: file,
			old: "return a.verdict == sse.Token && (code", new: "return (a.verdict == sse.Token || a.verdict == sse.Failed) && (code",
			rows: []string{"decode-error-event", "side-channel-dead"},
		},
		{
			name: "no token is no answer", file: file,
			old: "return a.verdict == sse.Token && (code", new: "return (a.verdict == sse.Token || a.verdict == sse.Empty) && (code",
			rows: []string{"decode-empty-stream", "decode-empty-json"},
		},
		{
			name: "abort before a token is no answer", file: file,
			old: "return a.verdict == sse.Token && (code", new: "return (a.verdict == sse.Token || a.verdict == sse.Aborted) && (code",
			rows: []string{"decode-abort"},
		},
		{
			name: "what is no JSON is no answer", file: file,
			old: "return a.verdict == sse.Token && (code", new: "return (a.verdict == sse.Token || a.verdict == sse.Garbage) && (code",
			rows: []string{"decode-garbage", "decode-always-garbage"},
		},
		{
			name: "the last answer is relayed only if it is one", file: file,
			old: "func (a *answer) relayable() bool { return a.verdict == sse.Token }", new: "func (a *answer) relayable() bool { return true }",
			rows: []string{"decode-always-garbage"},
		},
		{
			name: "the last instance's error is the answer", file: trip,
			old: "if last && a.relayable() {", new: "if false {",
			rows: []string{"decode-all-404", "decode-last-error"},
		},
		{
			name: "an error event under way is counted", file: "router/relay.go",
			old: "if a.stream && t.watch.Failed(piece) {", new: "if a.stream && t.watch.Failed(piece) && false {",
			rows: []string{"decode-error-midstream"},
		},
		{
			name: "a dropped stream of responses is a failed handoff", file: file,
			old: "return t.watch.Protocol == sse.Responses &&", new: "return false &&",
			rows: []string{"decode-resets-always", "side-channel-dead"},
		},
		{
			name: "KV that could not be fetched blames the prefill", file: file,
			old: "return a.resp.Status >= 500 || a.verdict != sse.Token", new: "return false",
			rows: []string{"side-channel-dead", "prefill-restarts-between"},
		},
		{
			name: "params are not sent after the lease", file: file,
			old: "&& time.Now().After(t.expires) {", new: "&& false {",
			rows: []string{"lease-expired"},
		},
	}
}
