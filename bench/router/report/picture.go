package report

import (
	"fmt"
	"strings"
)

// panel is one group of bars with a scale of its own.
type panel struct{ cell, title string }

func panels() []panel {
	return []panel{
		{"200B-c16", "200 B"},
		{"16KiB-c16", "16 KiB"},
		{"220KiB-c16", "220 KiB"},
		{"sse-c16", "stream of 100 tokens, no gap"},
		{"sse1ms-c16", "stream of 100 tokens, 1 ms apart"},
	}
}

// bars are the peers in the picture, from the bottom of the scale up.
func bars() []struct{ peer, label, colour string } {
	return []struct{ peer, label, colour string }{
		{nginx, "nginx, one leg", "#b8bfc9"},
		{ours, "pd-router", "#0f8a5f"},
		{vllmRouter, "vllm-router", "#7d8796"},
		{sidecar, "pd-sidecar", "#565f6d"},
	}
}

const (
	pictureWidth = 900
	left         = 150 // where bars begin
	longest      = 640 // the longest bar
	barHeight    = 18
	barStep      = 24
)

// Picture draws CPU per request at 16 connections as SVG, nil if the run has
// none of it.
func Picture(r *Run) []byte {
	var b strings.Builder
	y := 76
	for _, p := range panels() {
		y = drawPanel(&b, r, p, y)
	}
	if b.Len() == 0 {
		return nil
	}
	head := fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" font-family="Helvetica, Arial, sans-serif" role="img">
<title>CPU per request of each router at 16 connections</title>
<rect width="100%%" height="100%%" rx="8" fill="#ffffff"/>
<text x="24" y="34" font-size="19" font-weight="bold" fill="#1d232b">CPU per request, 16 connections</text>
<text x="24" y="55" font-size="13" fill="#565f6d">microseconds of user and system time; shorter is better; each group has its own scale</text>
`, pictureWidth, y+10, pictureWidth, y+10)
	return []byte(head + b.String() + "</svg>\n")
}

func drawPanel(b *strings.Builder, r *Run, p panel, y int) int {
	top := 0.0
	for _, bar := range bars() {
		if f, ok := r.Figure(p.cell, bar.peer); ok {
			top = max(top, f.CPU)
		}
	}
	if top == 0 {
		return y
	}
	y += 18
	fmt.Fprintf(b, `<text x="24" y="%d" font-size="14" font-weight="bold" fill="#1d232b">%s</text>`+"\n", y, p.title)
	y += 10
	for _, bar := range bars() {
		f, ok := r.Figure(p.cell, bar.peer)
		if !ok {
			continue
		}
		width := max(2, f.CPU/top*longest)
		label, weight := number(f.CPU), "normal"
		if bar.peer == ours {
			weight = "bold"
			if ratio := r.ratioOf(p.cell, ours, vllmRouter); ratio > 0 {
				label += fmt.Sprintf("  (%.2f of vllm-router)", ratio)
			}
		}
		fmt.Fprintf(b, `<text x="%d" y="%d" font-size="13" font-weight="%s" text-anchor="end" fill="#1d232b">%s</text>`+"\n", left-10, y+14, weight, bar.label)
		fmt.Fprintf(b, `<rect x="%d" y="%d" width="%.1f" height="%d" rx="3" fill="%s"/>`+"\n", left, y, width, barHeight, bar.colour)
		fmt.Fprintf(b, `<text x="%.1f" y="%d" font-size="13" font-weight="%s" fill="#1d232b">%s</text>`+"\n", left+width+8, y+14, weight, label)
		y += barStep
	}
	return y + 8
}
