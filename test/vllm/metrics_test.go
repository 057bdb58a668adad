package vllm

import (
	"io"
	"net/http"
	"strconv"
	"strings"
)

// scrape reads a server's metrics; empty if it does not answer.
func scrape(url string) string {
	resp, err := http.Get(url + "/metrics")
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	return string(text)
}

// metric adds up the samples of a metric whose labels contain all the given texts.
func metric(url, name string, labels ...string) float64 {
	sum := 0.0
	for line := range strings.SplitSeq(scrape(url), "\n") {
		rest, ok := strings.CutPrefix(line, name)
		if !ok || rest == "" || rest[0] != '{' && rest[0] != ' ' {
			continue
		}
		at := strings.LastIndexByte(rest, ' ')
		if v, err := strconv.ParseFloat(rest[at+1:], 64); err == nil && containsAll(rest[:at], labels) {
			sum += v
		}
	}
	return sum
}

func containsAll(s string, parts []string) bool {
	for _, p := range parts {
		if !strings.Contains(s, p) {
			return false
		}
	}
	return true
}
