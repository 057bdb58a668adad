package vllm

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// GiB is what LMCache means by its sizes "in GB".
const GiB = 1 << 30

// ParseSize reads a size in bytes: "1GiB", "512 MiB", "2GB" or plain "1073741824".
// KB, MB, GB and TB are powers of 1000; KiB, MiB, GiB and TiB powers of 1024.
func ParseSize(s string) (int64, error) {
	text := strings.TrimSpace(s)
	digits := len(text) - len(strings.TrimLeft(text, "0123456789."))
	n, err := strconv.ParseFloat(text[:digits], 64)
	unit, known := map[string]float64{
		"": 1, "B": 1,
		"KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
		"KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "TIB": 1 << 40,
	}[strings.ToUpper(strings.TrimSpace(text[digits:]))]
	if bytes := n * unit; err == nil && known && bytes == math.Trunc(bytes) && bytes < 1<<62 {
		return int64(bytes), nil
	}
	return 0, fmt.Errorf(`%q: want a size such as "1GiB", "512MiB" or a number of bytes`, s)
}
