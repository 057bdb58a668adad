package report

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// Text writes the figures for a terminal.
func Text(w io.Writer, r *Run) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "cell\tpeer\tCPU us\tlow..high\treq/s\tp50 ms\tp99 ms\ttoken p50/p99 us\tRSS MiB\tof vllm-router\tof nginx\t")
	for _, c := range r.Cells {
		for _, p := range r.Peers {
			f, ok := c.Figures[p.Name]
			if !ok {
				continue
			}
			if f.Fault != "" {
				fmt.Fprintf(t, "%s\t%s\tinvalid\t\t\t\t\t\t\t\t\t\n", c.Name, p.Name)
				continue
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%.0f\t%.2f\t%.2f\t%s\t%.0f\t%s\t%s\t\n", c.Name, p.Name, number(f.CPU), spread(f),
				f.PerSecond, f.P50/1000, f.P99/1000, tokens(f), f.RSSMiB, r.ratio(c.Name, p.Name, vllmRouter), r.ratio(c.Name, p.Name, nginx))
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, c := range r.Cells {
		for _, p := range r.Peers {
			if f := c.Figures[p.Name]; f.Fault != "" {
				fmt.Fprintf(w, "%s %s: %s\n", c.Name, p.Name, f.Fault)
			}
			if s := c.Figures[p.Name].Streams; s != nil {
				fmt.Fprintf(w, "%s %s: %d of %d open at once, %d dropped, %.2f %% of tokens late, %.0f MiB open, %.0f MiB at most\n",
					c.Name, p.Name, s.Held, s.Asked, s.Dropped, 100*s.Late, s.OpenMiB, c.Figures[p.Name].RSSMiB)
			}
		}
	}
	fmt.Fprintf(w, "other processes took %.0f %% of the machine\n", 100*r.Others)
	return nil
}

func number(v float64) string {
	if v == 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f", v)
}

func spread(f Figure) string {
	if f.CPU == 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f..%.0f", f.CPULow, f.CPUHigh)
}

func tokens(f Figure) string {
	if f.Token50 == 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f/%.0f", f.Token50, f.Token99)
}

// ratio is ratioOf for a table.
func (r *Run) ratio(cell, peer, of string) string {
	if ratio := r.ratioOf(cell, peer, of); ratio > 0 {
		return fmt.Sprintf("%.2fx", ratio)
	}
	return "-"
}
