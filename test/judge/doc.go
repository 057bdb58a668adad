// Package judge holds what the router makes of a request, and of a prefill's
// answer, against Python's json, by which vLLM reads them. It has tests only;
// the judge itself is testdata/judge.py, a process of which each test, and
// each fuzzing worker, has one of its own. Both fuzz targets have the same
// seeds: in testdata/fuzz the one's folder is a link to the other's.
package judge
