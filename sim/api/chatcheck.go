package api

import (
	"fmt"
	"net/http"
	"strconv"

	"github.com/nomad-vllm/nomad-vllm/sim/tokens"
)

// checkTools is what vLLM checks of tools while it reads the request.
func checkTools(b *body) *failure {
	list, _ := b.m["tools"].([]any)
	choice := b.m["tool_choice"]
	switch {
	case b.m["tools"] != nil && len(list) == 0:
		return withParam("tools", "", "`tools` must not be an empty array. Either provide at least one tool or omit the field entirely.")
	case choice != nil && choice != "none" && len(list) == 0:
		return withParam("tool_choice", "", "When using `tool_choice`, `tools` must be set.")
	}
	named, ok := choice.(map[string]any)
	if !ok {
		return nil
	}
	for _, t := range list {
		if function(t) == function(named) {
			return nil
		}
	}
	return withParam("tool_choice", "", "The tool specified in `tool_choice` does not match any of the specified `tools`")
}

func function(v any) string {
	m, _ := v.(map[string]any)
	f, _ := m["function"].(map[string]any)
	return fmt.Sprint(f["name"])
}

// checkParts is what rendering the conversation finds.
func (s *Server) checkParts(b *body, messages []tokens.Message) *failure {
	tools, _ := b.m["tools"].([]any)
	if choice := b.m["tool_choice"]; len(tools) > 0 && (choice == nil || choice == "auto") {
		return badRequest("", `"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set`)
	}
	if b.truth("continue_final_message") && (b.m["add_generation_prompt"] == nil || b.truth("add_generation_prompt")) {
		return badRequest("", "Cannot set both `continue_final_message` and `add_generation_prompt` to True.")
	}
	if len(messages) == 0 {
		return badRequest("", "Cannot apply chat template to an empty conversation. Provide at least one message.")
	}
	list, _ := b.m["messages"].([]any)
	for _, v := range list {
		m, _ := v.(map[string]any)
		parts, _ := m["content"].([]any)
		for _, p := range parts {
			part, _ := p.(map[string]any)
			switch part["type"] {
			case "text", "refusal", "input_text", "output_text", "thinking", nil:
			case "image_url", "input_audio", "audio_url", "video_url", "image_embeds", "image_pil":
				return badRequest("", s.cfg.Root+" is not a multimodal model")
			default:
				return badRequest("", fmt.Sprintf("Unknown part type: %v", part["type"]))
			}
		}
	}
	return nil
}

// rankError refuses a data-parallel rank that the server does not have.
func (s *Server) rankError(r *http.Request) *failure {
	n, err := strconv.Atoi(r.Header.Get("X-Data-Parallel-Rank"))
	if err != nil || n >= 0 && n < max(s.cfg.DPSize, 1) {
		return nil
	}
	return badRequest("", fmt.Sprintf("data_parallel_rank %d is out of range [0, %d).", n, max(s.cfg.DPSize, 1)))
}

// cutPrompt applies truncate_prompt_tokens.
func (s *sampling) cutPrompt(prompt []int) []int {
	if s.truncate > 0 && len(prompt) > s.truncate {
		return prompt[len(prompt)-s.truncate:]
	}
	return prompt
}
