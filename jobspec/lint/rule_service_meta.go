package lint

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/nomad-vllm/nomad-vllm/jobspec"
	"github.com/nomad-vllm/nomad-vllm/pd"
)

// vllmLease is how long a prefill keeps KV unless it is told otherwise.
const vllmLease = 30 * time.Second

// checkMeta finds pd_* meta that is missing, or says something else than the job.
func checkMeta(j *job, r *reporter) {
	for _, s := range j.servers {
		if s.service == nil {
			continue
		}
		for _, m := range wantedMeta(s) {
			m.check(s.service, r)
		}
		checkPublishedPort(s, r)
		checkPublishedLease(s, r)
		literal := map[string]string{}
		for k, v := range s.service.meta {
			if text, known := v.text(); known && !strings.Contains(text, "${") {
				literal[k] = text
			}
		}
		if _, err := pd.ParseMeta(literal); err != nil {
			r.errorf(s.service.metaAt, "mend the value", "%s", oneLine(err.Error()))
		}
	}
}

// wanted is what one meta key must hold.
type wanted struct {
	key  string
	ok   []string // the values that are right; none: any
	why  string   // what fails without it
	must bool     // must be there
}

// wantedMeta lists the keys for a server. The model is what clients ask for,
// which vLLM lets one rename.
func wantedMeta(s *server) []wanted {
	var model, connector, namespace []string
	if served := s.servedNames(); len(served) > 0 {
		model = served
	} else if text, known := s.config.attr("model").text(); known && s.args.whole && strings.TrimSpace(text) != "" {
		model = []string{text}
	}
	if text, known := s.config.first(jobspec.KVTransferBlock).attr("connector").text(); known {
		connector = []string{text}
	}
	ns, nsSet := s.group.job.attr("namespace").text()
	if nsSet {
		namespace = []string{"${NOMAD_NAMESPACE}", ns}
	} else {
		namespace = []string{"${NOMAD_NAMESPACE}", "default"}
	}
	j := s.group.job
	return []wanted{
		{pd.MetaModel, model, "the router could not tell which requests it serves", true},
		{pd.MetaConnector, connector, "nobody could see from outside which connector it runs", false},
		{pd.MetaCompat, nil, "nothing would keep two versions apart during a rolling update", true},
		{pd.MetaJob, []string{"${NOMAD_JOB_ID}", "${NOMAD_JOB_NAME}", j.id}, "the autoscaler could not tell its job", true},
		{pd.MetaGroup, []string{"${NOMAD_GROUP_NAME}", s.group.name}, "the autoscaler could not tell its group", true},
		{pd.MetaNamespace, namespace, "the autoscaler would look in namespace default", nsSet && ns != "default"},
		{pd.MetaAlloc, []string{"${NOMAD_ALLOC_ID}"}, "nobody could find its allocation", true},
	}
}

// metaOr is where the meta stands, or the service that has none.
func (s *service) metaOr() hcl.Range {
	if s.metaAt.Filename == "" {
		return s.at
	}
	return s.metaAt
}

func (w wanted) check(s *service, r *reporter) {
	v := s.meta[w.key]
	example := "..."
	if len(w.ok) > 0 {
		example = w.ok[0]
	}
	if !v.set {
		if w.must {
			r.errorf(s.metaOr(), fmt.Sprintf("add %s = %q to the service's meta", w.key, example), "no %s: %s", w.key, w.why)
		}
		return
	}
	if text, known := v.text(); known && len(w.ok) > 0 && !slices.Contains(w.ok, text) {
		r.errorf(v.at, fmt.Sprintf("write %q; otherwise %s", example, w.why), "%s is %q where %q belongs", w.key, text, example)
	}
}

// servedNames are the names that --served-model-name gives the model, in one
// argument or in several.
func (s *server) servedNames() (names []string) {
	value, i := jobspec.FlagValue(s.args.items, "--served-model-name")
	if i < 0 {
		return nil
	}
	names = append(names, value)
	if strings.Contains(s.args.items[i], "=") {
		return names
	}
	for _, a := range s.args.items[min(i+2, len(s.args.items)):] {
		if jobspec.FlagName(a) != "" {
			break
		}
		names = append(names, a)
	}
	return names
}

// checkPublishedPort compares the published side-channel port with the label.
func checkPublishedPort(s *server, r *reporter) {
	v := s.service.meta[pd.MetaSideChannelPort]
	text, known := v.text()
	label, labelKnown := s.config.first(jobspec.KVTransferBlock).attr("side_channel_port").text()
	if !known || !labelKnown || !strings.Contains(text, "${") || !slices.Contains(s.group.ports, label) {
		return
	}
	// Nomad turns what an environment variable may not hold into underscores.
	want := "${NOMAD_PORT_" + label + "}"
	if text != want && text != strings.NewReplacer("-", "_", ".", "_").Replace(want) {
		r.errorf(v.at, fmt.Sprintf("write %q", want), "%s is %q and the side channel's port label is %q", pd.MetaSideChannelPort, text, label)
	}
}

// checkPublishedLease compares the published lease with the one that vLLM is
// told. The router sends no decode to a prefill's KV after it.
func checkPublishedLease(s *server, r *reporter) {
	kv := s.config.first(jobspec.KVTransferBlock)
	if !s.ours || kv.first("extra").attr("kv_lease_duration").set {
		return
	}
	told := kv.attr("lease")
	for _, part := range kv.blocks("part") {
		if l := part.attr("lease"); l.set {
			told = l
		}
	}
	v := s.service.meta[pd.MetaKVLease]
	published, known := v.text()
	lease, leaseKnown := told.durationOr(vllmLease)
	if !leaseKnown || v.set && (!known || strings.Contains(published, "${")) {
		return
	}
	want := strconv.Itoa(int(lease / time.Second))
	switch {
	case v.set && published != want:
		r.errorf(v.at, fmt.Sprintf("write %q", want), "%s is %q and kv_transfer's lease is %s", pd.MetaKVLease, published, short(lease))
	case !v.set && lease != vllmLease:
		r.errorf(s.service.metaOr(), fmt.Sprintf("add %s = %q to the service's meta", pd.MetaKVLease, want),
			"no %s: the router takes the lease for vLLM's %s, and it is %s", pd.MetaKVLease, short(vllmLease), short(lease))
	}
}
