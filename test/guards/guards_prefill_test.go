package guards

// prefillGuards are those of leg 1.
func prefillGuards() []guard {
	const file = "router/prefill.go"
	return []guard{
		{
			name: "a refused connection costs no try", file: file,
			old: "dials++ // nobody", new: "tries++ // nobody",
			rows: []string{"prefill-refuses"},
		},
		{
			name: "leg 1 has a time limit", file: file,
			old: "t.request(p, started, t.s.cfg.PrefillTimeout)", new: "t.request(p, started, time.Hour)",
			rows: []string{"prefill-hangs"},
		},
		{
			name: "that limit is for the slow as well", file: file,
			old: "t.request(p, started, t.s.cfg.PrefillTimeout)", new: "t.request(p, started, 20*time.Millisecond)",
			rows: []string{"prefill-slow"},
		},
		{
			name: "half an answer of a prefill is a broken connection", file: file,
			old: `&upstream.Error{Err: fmt.Errorf("read answer: %w", err)}`, new: `fmt.Errorf("%w: %w", errNoHandoff, err)`,
			rows: []string{"prefill-resets-within"},
		},
		{
			name: "a prefill's 4xx is the request's fault", file: file,
			old: "case clientsFault(resp.Status):", new: "case false:",
			rows: []string{"prefill-400", "prefill-413", "prefill-422", "prefill-all-404"},
		},
		{
			name: "401, 403 and 404 may be one instance's own", file: file,
			old:  "return code == http.StatusUnauthorized || code == http.StatusForbidden || code == http.StatusNotFound",
			new:  "return false",
			rows: []string{"prefill-401", "prefill-403", "prefill-404", "prefill-all-404", "decode-401", "decode-403", "decode-404", "decode-all-404"},
		},
		{
			name: "what every prefill says is the answer", file: file,
			old: "return nil, reason, unanimous\n", new: "return nil, reason, nil\n",
			rows: []string{"prefill-all-404"},
		},
		{
			name: "429 is the instance's moment", file: file,
			old: " && code != http.StatusTooManyRequests", new: "",
			rows: []string{"prefill-429", "decode-429"},
		},
		{
			name: "5xx is the instance's fault", file: file,
			old: "return code >= 400 && code < 500 &&", new: "return code >= 400 && code < 600 &&",
			rows: []string{"prefill-500", "prefill-503", "prefill-always-fails", "decode-500", "decode-503", "decode-fails-always", "side-channels-dead"},
		},
		{
			name: "the tries are counted", file: file,
			old: "tries < t.s.cfg.PrefillTries && dials", new: "tries < 100 && dials",
			rows: []string{"prefill-always-fails"},
		},
		{
			name: "a request that cannot be handed over goes local", file: "router/trip.go",
			old: "if t.s.cfg.NoFallback {", new: "if why != pd.ReasonNoPrefillInstance {",
			rows: []string{"prefill-all-refuse", "prefill-always-fails", "prefill-never-params", "decode-fails-always", "side-channels-dead", "lease-expired", "breaker-not-everybody"},
		},
		{
			name: "an answer without params is no handoff", file: file,
			old: "if err != nil {\n\t\tt.countRefusal(err)", new: "if err != nil && given.Params != nil {\n\t\tt.countRefusal(err)",
			rows: []string{"prefill-no-params", "prefill-never-params"},
		},
		{
			name: "the reason says that params were missing", file: file,
			old: "if handoff.ErrNoParams(err) {\n\t\t\treason", new: "if false {\n\t\t\treason",
			rows: []string{"prefill-never-params"},
		},
		{
			name: "an answer that is no JSON is no handoff", file: file,
			old: `return nil, fmt.Errorf("%w: %w", errNoHandoff, err)`, new: "return decodes, nil",
			rows: []string{"prefill-garbage"},
		},
		{
			name: "the shape of params is checked", file: "router/handoff/given.go",
			old: `case !blockIDs(r.params.Get("remote_block_ids")):`, new: "case false:",
			rows: []string{"prefill-params-shape"},
		},
		{
			name: "the side channel is the prefill's own", file: "router/handoff/ledger.go",
			old: "first != 0 && (g.Port < first || g.Port > last)", new: "false && g.Port > last",
			rows: []string{"prefill-foreign-params"},
		},
	}
}
