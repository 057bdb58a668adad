package lint

import (
	"fmt"
	"slices"

	"github.com/nomad-vllm/nomad-vllm/jobspec"
)

// checkServicePort finds services that send clients to a port where the
// server's HTTP API is not.
func checkServicePort(j *job, r *reporter) {
	for _, s := range j.servers {
		if s.service == nil {
			continue
		}
		v := s.service.attr("port")
		label, known := v.text()
		want, wantKnown := s.port()
		switch {
		case !v.set:
			r.errorf(s.service.at, fmt.Sprintf("write port = %q", orExample(want, "http")), "the service has no port, so clients cannot connect")
		case known && s.ours && wantKnown && label != want && slices.Contains(s.group.ports, want):
			r.errorf(v.at, fmt.Sprintf("write port = %q", want), "the service's port is %q and the server listens on %q", label, want)
		case known && !s.ours && !slices.Contains(s.group.ports, label):
			r.errorf(v.at, fmt.Sprintf("add port %q {}%s", label, jobspec.DidYouMean(label, s.group.ports)),
				"port %q is no port label in the network of group %q", label, s.group.name)
		}
	}
}

func orExample(s, example string) string {
	if s == "" {
		return example
	}
	return s
}
