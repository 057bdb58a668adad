package h1

import "time"

// deadline is a connection's for reading. It is set when somebody is about to
// read, and not before: most that are asked for are replaced until then, for the
// request is there already, and each that is set costs a look at all timers.
type deadline struct {
	want, have time.Time // zero: none
	slack      time.Duration
}

// within asks for a time from now on; no limit lifts the bound. The one that
// is there serves as well if it is sooner by a little.
func (d *deadline) within(now time.Time, limit time.Duration) {
	d.want, d.slack = time.Time{}, limit/64
	if limit > 0 {
		d.want = now.Add(limit)
	}
}

// at asks for a time.
func (d *deadline) at(t time.Time) { d.want, d.slack = t, 0 }

// due is what has to be set before reading, if anything.
func (d *deadline) due() (t time.Time, changed bool) {
	early := d.want.Sub(d.have)
	if early == 0 || early > 0 && early < d.slack && !d.have.IsZero() {
		return d.have, false
	}
	d.have = d.want
	return d.want, true
}
