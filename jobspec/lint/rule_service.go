package lint

// checkService finds servers that nobody finds: the router and the autoscaler
// know only what Consul tells them.
func checkService(j *job, r *reporter) {
	for _, s := range j.servers {
		if s.service == nil {
			r.errorf(s.group.at, `add service { name = "vllm" provider = "consul" port = "http" ... } to the group`,
				"group %q has no service for its server, so the router never finds it", s.group.name)
			continue
		}
		provider := s.service.attr("provider")
		if text, known := provider.text(); known && text != "consul" {
			r.errorf(provider.at, `write provider = "consul"`,
				"provider %q: the router and the autoscaler ask Consul, and Nomad's own services carry no health", text)
		}
		if name := s.service.attr("name"); !name.set {
			r.warnf(s.service.at, `write name = "vllm", the name that the router watches`,
				"the service has no name, so Nomad makes one up from job, group and task")
		}
	}
}
