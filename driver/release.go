package driver

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// release is a version's numbers: 0.26.0rc1 and 0.26.0+cu130 are 0.26.0, whose
// behaviour they have already.
type release []int

func parseRelease(version string) (release, bool) {
	numbers := regexp.MustCompile(`^v?([0-9]{1,9}(?:\.[0-9]{1,9})*)`).FindStringSubmatch(version)
	if numbers == nil {
		return nil, false
	}
	var r release
	for part := range strings.SplitSeq(numbers[1], ".") {
		n, _ := strconv.Atoi(part)
		r = append(r, n)
	}
	for len(r) > 0 && r[len(r)-1] == 0 { // 0.26 is 0.26.0
		r = r[:len(r)-1]
	}
	return r, true
}

// in reports whether a release is in a range such as ">= 0.5.4, < 0.6".
func (r release) in(bounds string) (bool, error) {
	for bound := range strings.SplitSeq(bounds, ",") {
		op, version, _ := strings.Cut(strings.TrimSpace(bound), " ")
		limit, ok := parseRelease(version)
		if !ok || op != ">=" && op != "<" {
			return false, fmt.Errorf(`%q: want bounds such as ">= 0.5.4, < 0.6"`, bounds)
		}
		if below := slices.Compare(r, limit) < 0; below != (op == "<") {
			return false, nil
		}
	}
	return true, nil
}
