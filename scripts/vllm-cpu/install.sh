#!/usr/bin/env bash
# Install real vLLM for a machine without a GPU.
#
#   install.sh DIR
#
# leaves DIR/bin/vllm, a command that takes the same arguments as vLLM and serves a tiny model with
# random weights (DIR/model) from a virtual environment (DIR/venv). Run again, it finishes what is
# missing or out of date and returns at once when nothing is. About 3 GB; needs the package index
# that pip is configured for, and leaves nothing outside DIR.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
dir=${1:?usage: install.sh DIR}
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
lock=$here/requirements.lock
stamps=$dir/stamps
log=$dir/install.log
phases=5
child=

say() { printf '[%s/%d %4ds] %s\n' "$1" "$phases" "$SECONDS" "$2"; }
die() {
	printf 'install.sh: %s\n' "$1" >&2
	exit 1
}

# A phase is done when its stamp says what it would be made from now. Stamps are written last, so
# that an interrupted phase is never taken for a whole one; a virtual environment cannot be built
# elsewhere and moved into place, because its files name their own path.
stamped() { [ "$(cat "$stamps/$1" 2>/dev/null)" = "$2" ]; }
stamp() {
	mkdir -p "$stamps"
	printf '%s\n' "$2" >"$stamps/$1.new"
	mv "$stamps/$1.new" "$stamps/$1"
}
digest() { cat "$@" | sha256sum | cut -d' ' -f1; }

find_python() {
	local p
	for p in ${PYTHON:-} python3 python3.13 python3.12 python3.11 python3.14; do
		if "$p" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null; then
			command -v "$p"
			return
		fi
	done
	command -v python3 >/dev/null || die "no python3; install the Debian package python3, or set PYTHON"
	die "python3 is $(python3 -V 2>&1 | cut -d' ' -f2): vLLM 0.32 needs 3.11 to 3.14; install one of them, or set PYTHON"
}

check_tools() {
	"$python" -c 'import venv, ensurepip' 2>/dev/null ||
		die "$python has no venv module; install the Debian package python3-venv"
	command -v gcc >/dev/null || die "no gcc; install the Debian package gcc (with libc6-dev)"
	printf 'int x;\n' | gcc -shared -fPIC -x c - -o "$dir/probe.so" 2>/dev/null ||
		die "gcc cannot link a shared library; install the Debian package libc6-dev"
	rm -f "$dir/probe.so"
	command -v readelf >/dev/null || die "no readelf; install the Debian package binutils"
	local free
	free=$(df -Pk "$dir" | awk 'NR == 2 { print int($4 / 1048576) }')
	[ "$free" -ge 5 ] || die "$dir has $free GiB free; vLLM needs 5"
}

# Runs a command with its output in the log; `progress` prints a word on how far it is.
watch() {
	local phase=$1 what=$2 last='' now
	shift 2
	"$@" >>"$log" 2>&1 &
	child=$!
	while kill -0 "$child" 2>/dev/null; do
		now=$(progress)
		if [ -n "$now" ] && [ "$now" != "$last" ]; then
			say "$phase" "$what: $now"
			last=$now
		fi
		sleep 3
	done
	if ! wait "$child"; then
		child=
		tail -n 15 "$log" >&2
		die "$what: see $log"
	fi
	child=
}

progress() {
	local all got put
	all=$(grep -c '==' "$lock")
	got=$(grep -c '^Collecting ' "$log" || true)
	put=$(find "$dir"/venv/lib/python3*/site-packages -maxdepth 1 -name '*.dist-info' 2>/dev/null | wc -l)
	if grep -q '^Installing collected' "$log"; then
		echo "installed $put of $all packages"
	else
		echo "fetched $got of $all packages"
	fi
}

packages() {
	rm -rf "$dir/venv" "$dir/pip-tmp"
	mkdir -p "$dir/pip-tmp"
	"$python" -m venv "$dir/venv"
	: >"$log"
	# The cache lives only until the packages are in: an interrupted download is taken up again.
	watch 2 packages env TMPDIR="$dir/pip-tmp" PIP_CACHE_DIR="$dir/pip-cache" "$dir/venv/bin/python" -m pip install \
		--disable-pip-version-check --no-input --no-deps --no-compile --only-binary :all: -r "$lock"
	rm -rf "$dir/pip-cache" "$dir/pip-tmp"
}

fit() {
	local py=$dir/venv/bin/python
	"$py" "$here/stubs.py" "$("$py" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')/torch/lib" >>"$log"
	"$py" "$here/patch.py" >>"$log"
	"$py" -c 'import torch; assert not torch.cuda.is_available()' 2>>"$log" || die "torch does not start: see $log"
	say 3 "import vLLM once, so that servers find it compiled"
	env -u PYTHONDONTWRITEBYTECODE -u PYTHONPYCACHEPREFIX HOME="$dir/home" HF_HUB_OFFLINE=1 VLLM_NO_USAGE_STATS=1 \
		"$py" -c 'import vllm.entrypoints.openai.api_server, vllm.v1.worker.cpu_worker, transformers.models.llama
import vllm.distributed.kv_transfer.kv_connector.v1.nixl' >>"$log" 2>&1 || die "vLLM does not start: see $log"
}

model() {
	rm -rf "$dir/model.new"
	"$dir/venv/bin/python" "$here/model.py" "$dir/model.new" >>"$log"
	rm -rf "$dir/model"
	mv "$dir/model.new" "$dir/model"
}

command_vllm() {
	mkdir -p "$dir/bin"
	cp "$here/launch.py" "$dir/bin/launch.py"
	cat >"$dir/bin/vllm.new" <<-'EOF'
		#!/bin/sh
		# Written by install.sh: real vLLM on CPU, whatever the arguments say (see launch.py).
		dir=$(dirname -- "$(dirname -- "$(readlink -f -- "$0")")")
		exec "$dir/venv/bin/python" "$dir/bin/launch.py" "$@"
	EOF
	chmod 755 "$dir/bin/vllm.new"
	mv "$dir/bin/vllm.new" "$dir/bin/vllm"
	"$dir/bin/vllm" --version >/dev/null || die "$dir/bin/vllm does not start"
}

phase() {
	local n=$1 name=$2 made_from=$3 what=$4
	if stamped "$name" "$made_from"; then return; fi
	rm -f "$stamps/$name"
	say "$n" "$what"
	"$name"
	stamp "$name" "$made_from"
}

exec 9>"$dir/lock"
flock -n 9 || {
	echo "another install.sh works in $dir; waiting for it"
	flock 9
}
trap '[ -z "$child" ] || kill "$child" 2>/dev/null || true' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 141' PIPE

python=$(find_python)
venv_of="$(digest "$lock") $("$python" -V 2>&1) $dir"
fit_of="$venv_of $(digest "$here/stubs.py" "$here/patch.py" "${BASH_SOURCE[0]}")"
if ! stamped packages "$venv_of" || ! "$dir/venv/bin/python" -c '' 2>/dev/null; then
	say 1 "check python, gcc, binutils, disk"
	check_tools
	rm -rf "$stamps"
fi
phase 2 packages "$venv_of" "fetch and install $(grep -c '==' "$lock") packages (about 1 GB to fetch)"
phase 3 fit "$fit_of" "stand-ins for the CUDA libraries, two corrections"
phase 4 model "$(digest "$here/model.py") $dir" "the model"
phase 5 command_vllm "$(digest "$here/launch.py" "${BASH_SOURCE[0]}") $dir" "the command"
echo "vLLM $("$dir/bin/vllm" --version) on CPU: $dir/bin/vllm"
