package lint

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nomad-vllm/nomad-vllm/jobspec"
	"github.com/nomad-vllm/nomad-vllm/pd"
)

// checkCompat compares each decode with the prefills of its job. A job may
// hold several pairs; a decode is fine if one prefill fits.
func checkCompat(j *job, r *reporter) {
	for _, d := range j.servers {
		if d.role != pd.RoleDecode || d.service == nil {
			continue
		}
		var nearest *mismatch
		for _, p := range j.servers {
			if p.role != pd.RolePrefill || p.service == nil {
				continue
			}
			m := compare(p, d)
			if m == nil {
				nearest = nil
				break
			}
			if nearest == nil {
				nearest = m
			}
		}
		if nearest != nil {
			r.errorf(nearest.decode.at, fmt.Sprintf("make them equal, %q for example", nearest.prefillText),
				"%s is %q here and %q in group %q: this decode is never paired with that prefill",
				nearest.what, nearest.decodeText, nearest.prefillText, nearest.prefillGroup)
		}
	}
}

// mismatch is the first thing in which a pair differs.
type mismatch struct {
	what                    string
	decode                  value
	decodeText, prefillText string
	prefillGroup            string
}

func compare(p, d *server) *mismatch {
	pairs := []struct {
		what string
		p, d value
	}{
		{"config.model", p.config.attr("model"), d.config.attr("model")},
		{pd.MetaModel, publishedModel(p), publishedModel(d)},
		{pd.MetaCompat, p.service.meta[pd.MetaCompat], d.service.meta[pd.MetaCompat]},
		{"kv_transfer.connector", knownConnector(p), knownConnector(d)},
		{"the Consul service name", p.service.attr("name"), d.service.attr("name")},
	}
	for _, x := range pairs {
		a, okA := x.p.text()
		b, okB := x.d.text()
		if okA && okB && a != b && strings.TrimSpace(a) != "" && strings.TrimSpace(b) != "" {
			return &mismatch{x.what, x.d, b, a, p.group.name}
		}
	}
	return nil
}

// publishedModel is a server's pd_model, where nothing else in the file says
// what it should be: a wrong one is another rule's finding.
func publishedModel(s *server) value {
	if s.ours && len(s.servedNames()) == 0 {
		return value{}
	}
	return s.service.meta[pd.MetaModel]
}

// knownConnector is a server's connector; one that the driver does not know is
// another rule's finding.
func knownConnector(s *server) value {
	v := s.config.first(jobspec.KVTransferBlock).attr("connector")
	if name, known := v.text(); !known || !slices.Contains(jobspec.DriverConnectors(), name) {
		return value{}
	}
	return v
}
