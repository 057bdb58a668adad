package taskstart

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// The picture's measures, in its own units.
const (
	width, height     = 640, 170
	left, right       = 80, 20
	laneTop, laneStep = 20, 55
	laneHeight        = 36
	axisY             = laneTop + 2*laneStep
)

// svg draws every start as a dot on its driver's lane, and a bar at each median.
func (r *Result) svg() string {
	lanes := []struct {
		name  string
		times []time.Duration
	}{{ours, r.Ours.Exec}, {theirs, r.Theirs.Exec}}
	end, step := axis(max(quantile(lanes[0].times, p90), quantile(lanes[1].times, p90)) * 5 / 4)
	x := func(d time.Duration) float64 {
		return left + float64(min(d, end))/float64(end)*(width-left-right)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="13">`+"\n", width, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", width, height)
	for i, l := range lanes {
		y := laneTop + i*laneStep
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", left-10, y+laneHeight/2+4, l.name)
		for n, d := range l.times {
			// Spread over the lane in an order that repeats, so that equal times show.
			fmt.Fprintf(&b, `<circle cx="%.1f" cy="%d" r="2.5" fill="%s" fill-opacity="0.5"/>`+"\n", x(d), y+4+n*11%(laneHeight-8), colour(i))
		}
		m := quantile(l.times, median)
		fmt.Fprintf(&b, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="#000" stroke-width="2"/>`+"\n", x(m), x(m), y-2, y+laneHeight+2)
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="middle" font-size="11">%s</text>`+"\n", x(m), y-5, ms(m))
	}
	fmt.Fprintf(&b, `<line x1="%d" x2="%d" y1="%d" y2="%d" stroke="#888"/>`+"\n", left, width-right, axisY, axisY)
	for d := time.Duration(0); d <= end; d += step {
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="middle" fill="#555">%d</text>`+"\n", x(d), axisY+16, d.Milliseconds())
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle" fill="#555">ms to the engine's first instruction; bar: median; beyond the axis: at its end</text>`+"\n",
		(left+width-right)/2, axisY+34)
	b.WriteString("</svg>\n")
	return b.String()
}

func colour(lane int) string { return [...]string{"#2563eb", "#d97706"}[lane] }

// axis is a round end of at least d with about six steps.
func axis(d time.Duration) (end, step time.Duration) {
	raw := float64(d.Milliseconds()) / 6
	unit := math.Pow(10, math.Floor(math.Log10(math.Max(raw, 1))))
	for _, f := range []float64{1, 2, 5, 10} {
		if step = time.Duration(f*unit) * time.Millisecond; float64(step.Milliseconds()) >= raw {
			break
		}
	}
	return (d + step - 1) / step * step, step
}
