package guards

// fleetGuards are those of who is there, and of who is well.
func fleetGuards() []guard {
	const watch, entry = "fleet/watch.go", "fleet/entry.go"
	return []guard{
		{
			name: "an error of Consul is not emptiness", file: watch,
			old: "c.failed(name, failures, pause, err)\n", new: "c.failed(name, failures, pause, err)\n\t\t\tc.publish(name, nil, time.Now())\n",
			rows: []string{"consul-gone"},
		},
		{
			name: "a Consul that lags is not believed", file: watch,
			old: "meta.LastContact > maxStale || ", new: "",
			rows: []string{"consul-stale"},
		},
		{
			name: "an empty answer is not believed at once", file: watch,
			old: " || (len(entries) == 0 && c.holds(name)) {", new: " {",
			rows: []string{"consul-empty"},
		},
		{
			name: "each snapshot is looked at", file: "router/server.go",
			old: "t.of == snap && ", new: "",
			rows: []string{"consul-empty", "consul-flaps", "instance-critical", "instance-maintenance", "instance-bad-meta", "slow-start"},
		},
		{
			name: "an instance that is not usable is left out", file: "router/pool/table.go",
			old: "if !i.Usable() {\n\t\t\tv.Unusable", new: "if false {\n\t\t\tv.Unusable",
			rows: []string{"instance-critical", "instance-maintenance"}, // one of bad meta would still pair with nobody
		},
		{
			name: "a critical check forbids requests", file: entry,
			old: `problems = append(problems, "check "+strconv.Quote(c.Name)+" is "+c.Status+": "+brief(c.Output))`, new: "",
			rows: []string{"instance-critical"},
		},
		{
			name: "maintenance is told as such", file: entry,
			old: "case strings.HasPrefix(c.CheckID, api.ServiceMaintPrefix):", new: "case false:",
			rows: []string{"instance-maintenance"},
		},
		{
			name: "bad meta makes an instance unusable", file: entry,
			old: `problems = append(problems, strings.Split(err.Error(), "\n")...)`, new: "",
			rows: []string{"instance-bad-meta"},
		},
		{
			name: "a breaker that is open keeps requests away", file: "router/pick.go",
			old: "allowed := t.s.breakers.Allowed(candidates)", new: "allowed := candidates",
			rows: []string{"breaker-opens"},
		},
		{
			name: "a probe that goes well closes the breaker", file: "router/breaker/breaker.go",
			old: "if was == HalfOpen {\n\t\t\tb.close(x)", new: "if false {\n\t\t\tb.close(x)",
			rows: []string{"breaker-opens"},
		},
		{
			name: "breakers leave part of a pool", file: "router/breaker/breaker.go",
			old: "if len(out) > most {", new: "if false {",
			rows: []string{"breaker-not-everybody"},
		},
		{
			name: "a new instance starts slowly", file: "router/choose/load.go",
			old: "slowStart > 0 && age < slowStart {", new: "false && age < slowStart {",
			rows: []string{"slow-start"},
		},
	}
}
