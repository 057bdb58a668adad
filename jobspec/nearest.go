package jobspec

import (
	"fmt"
	"strings"

	"github.com/agext/levenshtein"
)

// Nearest is the candidate that someone who wrote s most likely meant, "" if
// none is near enough to be a slip.
func Nearest(s string, candidates []string) string {
	best, at := "", 3
	if len(s) > 12 {
		at = len(s) / 3 // long names are abbreviated and misremembered by more letters
	}
	for _, c := range candidates {
		if d := levenshtein.Distance(strings.ToLower(s), strings.ToLower(c), nil); d < at {
			best, at = c, d
		}
	}
	return best
}

// DidYouMean is the sentence that goes with Nearest, "" if there is nothing to offer.
func DidYouMean(s string, candidates []string) string {
	if n := Nearest(s, candidates); n != "" {
		return fmt.Sprintf("; did you mean %q?", n)
	}
	return ""
}
