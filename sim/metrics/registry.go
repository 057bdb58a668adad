package metrics

import (
	"fmt"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"
)

type kind string

const (
	gauge     kind = "gauge"
	counter   kind = "counter"
	histogram kind = "histogram"
)

// Registry holds families and prints them.
type Registry struct {
	mu       sync.Mutex
	families []*Family
	created  time.Time
}

// Family is one metric name with its series.
type Family struct {
	r       *Registry
	name    string // without _total
	help    string
	kind    kind
	buckets []float64
	series  []*series
	index   map[string]*series
}

type series struct {
	labels string // rendered, without braces
	value  float64
	counts []uint64
	sum    float64
	n      uint64
}

// NewRegistry makes an empty registry; created is printed by the _created
// series of counters and histograms.
func NewRegistry(created time.Time) *Registry { return &Registry{created: created} }

func (r *Registry) family(name, help string, k kind, buckets []float64) *Family {
	f := &Family{r: r, name: name, help: help, kind: k, buckets: buckets, index: map[string]*series{}}
	r.mu.Lock()
	r.families = append(r.families, f)
	r.mu.Unlock()
	return f
}

// at finds or makes a series; labels are pairs, sorted by name when printed.
func (f *Family) at(labels []string) *series {
	key := render(labels)
	s, ok := f.index[key]
	if !ok {
		s = &series{labels: key}
		if f.kind == histogram {
			s.counts = make([]uint64, len(f.buckets)+1)
		}
		f.index[key] = s
		f.series = append(f.series, s)
	}
	return s
}

func render(labels []string) string {
	pairs := make([]string, 0, len(labels)/2)
	for i := 0; i+1 < len(labels); i += 2 {
		pairs = append(pairs, labels[i]+"="+strconv.Quote(labels[i+1]))
	}
	sort.Strings(pairs)
	return strings.Join(pairs, ",")
}

// Add raises a counter (or a gauge) by v.
func (f *Family) Add(v float64, labels ...string) {
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	f.at(labels).value += v
}

// Set gives a gauge its value.
func (f *Family) Set(v float64, labels ...string) {
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	f.at(labels).value = v
}

// Observe puts a value into a histogram.
func (f *Family) Observe(v float64, labels ...string) {
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	s := f.at(labels)
	i := sort.SearchFloat64s(f.buckets, v)
	s.counts[i]++
	s.sum += v
	s.n++
}

// Value is a counter's or gauge's value, or a histogram's count.
func (f *Family) Value(labels ...string) float64 {
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	s := f.at(labels)
	if f.kind == histogram {
		return float64(s.n)
	}
	return s.value
}

// Text is the exposition of all families.
func (r *Registry) Text() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b strings.Builder
	for _, f := range r.families {
		f.print(&b)
	}
	return []byte(b.String())
}

func (f *Family) print(b *strings.Builder) {
	name := f.name
	if f.kind == counter {
		name += "_total"
	}
	fmt.Fprintf(b, "# HELP %s %s\n# TYPE %s %s\n", name, f.help, name, f.kind)
	for _, s := range f.series {
		if f.kind == histogram {
			f.printHistogram(b, s)
		} else {
			line(b, name, s.labels, s.value)
		}
	}
	if f.kind == gauge {
		return
	}
	fmt.Fprintf(b, "# HELP %s_created %s\n# TYPE %s_created gauge\n", f.name, f.help, f.name)
	for _, s := range f.series {
		line(b, f.name+"_created", s.labels, float64(f.r.created.UnixNano())/1e9)
	}
}

func (f *Family) printHistogram(b *strings.Builder, s *series) {
	sep := ""
	if s.labels != "" {
		sep = ","
	}
	total := uint64(0)
	for i, n := range s.counts {
		total += n
		le := "+Inf"
		if i < len(f.buckets) {
			le = number(f.buckets[i])
		}
		line(b, f.name+"_bucket", s.labels+sep+`le="`+le+`"`, float64(total))
	}
	line(b, f.name+"_count", s.labels, float64(s.n))
	line(b, f.name+"_sum", s.labels, s.sum)
}

func line(b *strings.Builder, name, labels string, v float64) {
	b.WriteString(name)
	if labels != "" {
		b.WriteString("{" + labels + "}")
	}
	b.WriteString(" " + number(v) + "\n")
}

// number prints a value as Python does, with a point in whole numbers.
func number(v float64) string {
	s := strconv.FormatFloat(v, 'g', -1, 64)
	if !strings.ContainsAny(s, ".eIN") {
		s += ".0"
	}
	return s
}
