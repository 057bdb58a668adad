package lint

// checkHealth finds servers that count as healthy as soon as their process
// runs: requests would reach them minutes before the model has loaded.
func checkHealth(j *job, r *reporter) {
	const fix = `add check { type = "http" path = "/health" interval = "3s" timeout = "2s" }`
	for _, s := range j.servers {
		if s.service == nil || s.service.hasHealthCheck() {
			continue
		}
		if path := s.service.checkedPath(); path.set {
			text, _ := path.text()
			r.errorf(path.at, `write path = "/health"`, "the check asks %q; only /health says whether vLLM's engine lives", text)
			continue
		}
		r.errorf(s.service.at, fix, "the service has no HTTP check on /health")
	}
}

// checkedPath is what the service's HTTP check asks for, not set if it has none.
func (s *service) checkedPath() value {
	for _, c := range s.blocks("check") {
		if path := c.attr("path"); path.set {
			return path
		}
	}
	return value{}
}

func (s *service) hasHealthCheck() bool {
	for _, c := range s.blocks("check") {
		kind, kindKnown := c.attr("type").text()
		path, pathKnown := c.attr("path").text()
		if (kind == "http" || c.attr("type").set && !kindKnown) && (path == "/health" || c.attr("path").set && !pathKnown) {
			return true
		}
	}
	return false
}
