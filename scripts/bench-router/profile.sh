#!/usr/bin/env bash
# Where pd-router's CPU goes: the figures of docs/benchmarks-profile.md. It needs
# Linux's perf and its permission to sample the whole system (root has it).
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
CGO_ENABLED=0 go build -trimpath -o "$work/pd-router" ./cmd/pd-router # with symbols
go build -o "$work/bench" ./bench/router
[ $# -gt 0 ] || set -- 200B-c16 220KiB-c16 sse-c16
for cell; do
	perf record -q -a -F 1000 -g -o "$work/perf" -- \
		"$work/bench" -cells "$cell" -peers pd-router -pd-router "$work/pd-router" -reps 1 -slice 5s >"$work/out" 2>&1
	us=$(awk -v c="$cell" '$1 == c && $2 == "pd-router" { print $3 }' "$work/out")
	echo "$cell: $us us of CPU a request"
	perf script -i "$work/perf" --comm pd-router -F comm,ip,sym 2>/dev/null | python3 scripts/bench-router/areas.py "$us"
done
