"""Counts perf's stacks by what they are for: each once, by the innermost frame
that says it. Reads `perf script` from standard input; the argument is what they
come to in all, in microseconds."""

import collections
import re
import sys

AREAS = [
    ("memory", r"runtime\.(malloc|gc|bg(sweep|scavenge)|newobject|makeslice|growslice|\(\*m(heap|central|cache)\))|router/buffer\."),
    ("reading from sockets", r"router/socket\.(\(\*Conn\)\.Read|New\.func1)|\(\*conn\)\.(Read|read)$"),
    ("writing to sockets", r"router/socket\.(\(\*Conn\)\.Write|WriteParts|New\.func[23])|writeBuffers|\(\*conn\)\.Write$"),
    ("waiting and waking", r"runtime\.(mcall|park_m|schedule|findRunnable|netpoll|ready|goready|mstart|sysmon|notesleep|futex)"),
    ("the log", r"go-hclog\.|\.writeLine|^main\."),
    ("counting", r"router/metrics\.|\(\*flows\)|client_golang"),
    ("choosing, breakers, admission", r"router/(choose|breaker|admit|pool|roster)\.|xxhash|\(\*trip\)\.(pick|weigh|admit|notWorth)"),
    ("JSON: check, edit, judge", r"router/(body|sse|handoff)\.|encoding/json|unicode/utf8"),
    ("HTTP: heads, connections", r"router/(h1|upstream|wire)\.|net/http\.|net\."),
    ("the trip itself", r"nomad-vllm/router\."),
]
AREAS = [(name, re.compile(pattern)) for name, pattern in AREAS]


def area(stack):
    for frame in stack:
        for name, pattern in AREAS:
            if pattern.search(frame):
                return name
    return "the rest"


counts, stack = collections.Counter(), []
for line in list(sys.stdin) + ["\n"]:
    if line.strip():
        stack.append(line.split(None, 1)[-1].strip())
    elif stack:
        counts[area(stack[1:])] += 1  # the first line is the command's name
        stack = []
total = sum(counts.values())
for name, n in counts.most_common():
    print(f"{n / total * float(sys.argv[1]):7.0f}  {name}")
