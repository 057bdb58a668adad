package traffic

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Model is the model that the engines say they serve.
const Model = "bench"

// Answer is how an engine answers: whole, or as a stream.
type Answer struct {
	Name string
	// Tokens is the number of events before [DONE]; 0 means one JSON object of 200 bytes.
	Tokens int
	// Gap is the time between two tokens.
	Gap time.Duration
	// Hold makes streams wait, after their head, until all of them are open.
	Hold bool
}

// Stream reports whether the answer is server-sent events.
func (a Answer) Stream() bool { return a.Tokens > 0 }

// Answers lists the kinds.
func Answers() []Answer {
	return []Answer{
		{Name: "json"},
		{Name: "sse", Tokens: 100},
		{Name: "sse1ms", Tokens: 100, Gap: time.Millisecond},
		{Name: "streams", Tokens: 20, Gap: 100 * time.Millisecond, Hold: true},
	}
}

func answer(name string) Answer {
	for _, a := range Answers() {
		if a.Name == name {
			return a
		}
	}
	panic("no such answer: " + name)
}

// Size is a class of request bodies.
type Size struct {
	Name  string
	Bytes int
}

// Sizes lists the classes.
func Sizes() []Size {
	return []Size{{"200B", 200}, {"16KiB", 16 << 10}, {"220KiB", 220 << 10}}
}

// Cell is one thing to measure: one kind of request at one number of connections.
type Cell struct {
	Size   Size
	Answer Answer
	Conns  int
}

// Name is how the cell is asked for, for example 200B-c16 or sse-c64.
func (c Cell) Name() string {
	if c.Answer.Stream() {
		return fmt.Sprintf("%s-c%d", c.Answer.Name, c.Conns)
	}
	return fmt.Sprintf("%s-c%d", c.Size.Name, c.Conns)
}

// Cells is everything that a full run measures, small bodies first, so that a
// router's memory at 200 B is not that of larger ones.
func Cells() []Cell {
	var cells []Cell
	for _, size := range Sizes() {
		for _, conns := range []int{1, 16, 64, 256} {
			cells = append(cells, Cell{size, answer("json"), conns})
		}
	}
	for _, name := range []string{"sse", "sse1ms"} {
		for _, conns := range []int{1, 16, 64, 256} {
			cells = append(cells, Cell{Sizes()[0], answer(name), conns})
		}
	}
	for _, conns := range []int{1000, 2500, 5000, 10000} {
		cells = append(cells, Cell{Sizes()[0], answer("streams"), conns})
	}
	return cells
}

// Quick is what a run of about two minutes measures.
func Quick() []string {
	return []string{"200B-c1", "200B-c16", "16KiB-c16", "220KiB-c16", "sse-c16", "sse1ms-c16"}
}

// Select finds cells by name. A name may be any of Cells, or one with another
// number of connections: streams-c2000, 200B-c4.
func Select(names []string) ([]Cell, error) {
	var picked []Cell
	for _, name := range names {
		kind, conns, _ := strings.Cut(name, "-c")
		n := 0
		if _, err := fmt.Sscanf(conns, "%d", &n); err != nil || n < 1 || n > 20000 {
			return nil, fmt.Errorf("cell %q: want KIND-cN, for example 200B-c16", name)
		}
		i := slices.IndexFunc(Cells(), func(c Cell) bool { return strings.HasPrefix(c.Name(), kind+"-c") })
		if i < 0 {
			return nil, fmt.Errorf("cell %q: no such kind; have 200B, 16KiB, 220KiB, sse, sse1ms, streams", name)
		}
		c := Cells()[i]
		c.Conns = n
		picked = append(picked, c)
	}
	return picked, nil
}
