package report

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// run has figures of every peer at two cells, pd-router's as given.
func run(ours200, ours220 float64) *Run {
	cell := func(name string, cpu float64) Cell {
		return Cell{name, map[string]Figure{nginx: {CPU: 50}, vllmRouter: {CPU: 400}, sidecar: {CPU: 800}, ours: {CPU: cpu}, direct: {P50: 100}}}
	}
	return &Run{Date: time.Unix(1795340779, 0).UTC(), Peers: []Peer{{direct, ""}, {nginx, "1"}, {vllmRouter, "2"}, {sidecar, "3"}, {ours, "commit x"}},
		Cells: []Cell{cell("200B-c16", ours200), cell("220KiB-c16", ours220)}}
}

func TestMedian_isOfEachFigure(t *testing.T) {
	got := Median([]Figure{{CPU: 9, P50: 1, Requests: 5}, {CPU: 1, P50: 3, Requests: 6}, {CPU: 2, P50: 2, Requests: 7}})
	require.Equal(t, Figure{CPU: 2, CPULow: 1, CPUHigh: 9, P50: 2, Requests: 18}, got)
	require.Equal(t, 1.5, Median([]Figure{{CPU: 1}, {CPU: 2}}).CPU)
	require.Equal(t, "broken", Median([]Figure{{CPU: 1}, {CPU: 2, Fault: "broken"}}).Fault)
}

func TestPage_saysWhichLimitsHold(t *testing.T) {
	page := string(Page(run(100, 200), nil, "x.svg"))
	require.Contains(t, page, "| 0.25 (aim 0.25 ✓) | 0.12 (limit 0.25 ✓) | 2.00 (limit 4.00 ✓) |")
	require.Contains(t, page, "| **0.50** (limit 0.40 ✗) | 0.25 (limit 0.25 ✓) | 4.00 (limit 4.00 ✓) |")
	require.Contains(t, page, "against vllm-router, 1 of 2 hold")
	require.Contains(t, page, "against nginx, 2 of 2 hold")
	require.Contains(t, string(Page(run(140, 200), nil, "x.svg")), "| 0.35 (limit 0.40 ✓, aim 0.25) |")
}

func TestPage_saysWhereNginxWouldNotHoldALimitEither(t *testing.T) {
	require.NotContains(t, string(Page(run(200, 200), nil, "x.svg")), "nginx itself")
	r := run(200, 200)
	r.Cells[1].Figures[nginx] = Figure{CPU: 180}
	require.Contains(t, string(Page(r, nil, "x.svg")), "is above the limit: 220 KiB, c16, 0.45 of vllm-router's\n")
}

func TestPage_usesNoFigureWithAFault(t *testing.T) {
	r := run(100, 100)
	f := r.Cells[0].Figures[ours]
	f.Fault = "status 500"
	r.Cells[0].Figures[ours] = f
	_, ok := r.Figure("200B-c16", ours)
	require.False(t, ok)
	require.NotContains(t, string(Page(r, nil, "x.svg")), "| 200 B, c16 | 50 (0–0) | 400 (0–0) | 800 (0–0) | 100")
	var text strings.Builder
	require.NoError(t, Text(&text, r))
	require.Contains(t, text.String(), "200B-c16 pd-router: status 500")
}

func TestPage_takesASidecarThatIsNotHereFromBefore(t *testing.T) {
	r := run(100, 100)
	delete(r.Cells[0].Figures, sidecar)
	page := string(Page(r, run(200, 100), "x.svg"))
	require.Contains(t, page, "| 0.12 (limit 0.25 ✓) \\* |")
	require.Contains(t, page, "not of this run")
	require.Contains(t, page, "| 200 B, c16 | 200 | 0.50 | 100 | 0.25 | 0.50 |", "before and after")
	require.Contains(t, string(Page(r, nil, "x.svg")), "| - | 2.00 (limit 4.00 ✓) |")
}

func TestPage_marksStreams(t *testing.T) {
	r := run(100, 100)
	r.Cells = append(r.Cells, Cell{"streams-c9000", map[string]Figure{ours: {CPU: 40, RSSMiB: 599, Streams: &Streams{Asked: 9000, Held: 8999, Dropped: 1}}}})
	page := string(Page(r, nil, "x.svg"))
	require.Contains(t, page, "| 9000 | pd-router | 1 |")
	require.Contains(t, page, "pd-router at 9000: memory ✓, dropped ✗, late ✓")
	require.Contains(t, page, "too few files for 10,000")
}

func TestPicture_isWellFormed(t *testing.T) {
	d := xml.NewDecoder(strings.NewReader(string(Picture(run(100, 100)))))
	bars := 0
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "rect" {
			bars++
		}
	}
	require.Equal(t, 1+2*4, bars, "the ground, and four peers at two cells")
	require.Nil(t, Picture(&Run{}))
}

func TestWrite_leavesWhatLoadReads(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, Save(filepath.Join(dir, BeforeFile), run(300, 300)))
	require.NoError(t, Write(dir, run(100, 100)))
	got, err := Load(filepath.Join(dir, RunFile))
	require.NoError(t, err)
	require.Equal(t, run(100, 100), got)
	page, err := os.ReadFile(filepath.Join(dir, PageFile))
	require.NoError(t, err)
	require.Contains(t, string(page), "## Before and after")
	require.FileExists(t, filepath.Join(dir, PictureFile))
}
