#!/usr/bin/env bash
# Install the routers that bench/router measures pd-router against.
#
#   install.sh DIR
#
# leaves vllm-router from PyPI in a virtual environment, DIR/vllm-router, and installs Debian's nginx
# if it is missing and this user may. What cannot be installed is named and left out: the benchmark
# goes on without it, and says so.
set -uo pipefail

dir=${1:?usage: install.sh DIR}
version=0.1.17 # the release that the limits in docs/benchmarks.md were set against
venv=$dir/vllm-router

without() { printf 'install.sh: going on without %s\n' "$1" >&2; }

if ! "$venv/bin/python" -c "import importlib.metadata as m, sys; sys.exit(m.version('vllm-router') != '$version')" 2>/dev/null; then
	echo "install vllm-router $version into $venv"
	rm -rf "$venv"
	mkdir -p "$dir"
	if ! { "${PYTHON:-python3}" -m venv "$venv" && "$venv/bin/python" -m pip install -q --disable-pip-version-check --only-binary :all: "vllm-router==$version"; }; then
		rm -rf "$venv"
		without "vllm-router: see above"
	fi
fi

if ! command -v nginx >/dev/null && ! [ -x /usr/sbin/nginx ]; then
	echo "install nginx"
	if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
		without "nginx: install the Debian package nginx-light as root"
	# The package would start a server on port 80, which nobody asked for.
	elif ! { printf '#!/bin/sh\nexit 101\n' >"$dir/policy-rc.d" && chmod +x "$dir/policy-rc.d" &&
		POLICYRCD="$dir/policy-rc.d" DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends nginx-light >"$dir/nginx-install.log" 2>&1; }; then
		without "nginx: see $dir/nginx-install.log"
	fi
fi
