package lint

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nomad-vllm/nomad-vllm/jobspec"
)

// sourceVLLM and strategyVLLM are the labels under which the autoscaler's
// agent knows our plugins.
const (
	sourceVLLM   = "vllm"
	strategyVLLM = "vllm-pd"
)

// Metrics are the signals that our APM plugin answers. They repeat what package
// autoscale/signal says; a test in the module's root compares the two.
func Metrics() []string { return []string{"queue_depth", "requests_running", "kv_transfer_latency"} }

// checkScalingQuery finds checks that scale a group on another one's signal,
// which is what is left behind when a group or a job was renamed.
func checkScalingQuery(j *job, r *reporter) {
	for _, g := range j.groups {
		for _, c := range g.first("scaling").first("policy").blocks("check") {
			if source, known := c.attr("source").text(); known && source == sourceVLLM {
				checkQuery(g, c, r)
			}
		}
	}
}

func checkQuery(g *group, c node, r *reporter) {
	v := c.attr("query")
	want := fmt.Sprintf("%s/%s/%s", "queue_depth", g.name, g.job.id)
	text, known := v.text()
	if !v.set {
		r.errorf(c.at, fmt.Sprintf("write query = %q", want), "check %q has no query", c.label())
		return
	}
	if !known {
		return
	}
	metric, rest, _ := strings.Cut(text, "/")
	groupName, jobName, _ := strings.Cut(rest, "/")
	namespace := ""
	if at := strings.LastIndex(jobName, "@"); at >= 0 {
		jobName, namespace = jobName[:at], jobName[at+1:]
	}
	of := namespaceOf(g.job)
	switch {
	case groupName == "" || jobName == "" || strings.HasSuffix(text, "@"):
		r.errorf(v.at, fmt.Sprintf("write %q", want), "query %q is not METRIC/GROUP/JOB[@NAMESPACE]", text)
	case !slices.Contains(Metrics(), metric):
		r.errorf(v.at, "write one of "+strings.Join(Metrics(), ", ")+jobspec.DidYouMean(metric, Metrics()), "query %q: no metric %q", text, metric)
	case groupName != g.name:
		r.errorf(v.at, fmt.Sprintf("write %q", metric+"/"+g.name+"/"+g.job.id), "query %q asks about group %q inside group %q", text, groupName, g.name)
	case jobName != g.job.id:
		r.errorf(v.at, fmt.Sprintf("write %q", metric+"/"+g.name+"/"+g.job.id), "query %q asks about job %q inside job %q", text, jobName, g.job.id)
	case of != "" && orExample(namespace, "default") != of:
		r.errorf(v.at, fmt.Sprintf("write %q", metric+"/"+g.name+"/"+g.job.id+"@"+of), "query %q asks about namespace %q, and the job is in %q", text, orExample(namespace, "default"), of)
	}
}

// namespaceOf is the job's namespace as the file says it. If it says none,
// whoever runs the job chooses, and nothing can be said.
func namespaceOf(j *job) string {
	ns, _ := j.attr("namespace").text()
	return ns
}
