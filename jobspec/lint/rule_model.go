package lint

import "strings"

// checkModel finds servers that would start vLLM without a model.
func checkModel(j *job, r *reporter) {
	const fix = `write model = "meta-llama/Llama-3.1-8B-Instruct", for example`
	for _, s := range j.servers {
		if !s.ours {
			continue
		}
		v := s.config.attr("model")
		text, known := v.text()
		switch {
		case !v.set:
			r.errorf(s.at(), fix, "task %q has no model", s.task.name)
		case known && strings.TrimSpace(text) == "":
			r.errorf(v.at, fix, "model of task %q is empty", s.task.name)
		}
	}
}
