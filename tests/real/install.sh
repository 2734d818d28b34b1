#!/usr/bin/env bash
# Installs the servers that tests/real talks to: nginx, squid, tinyproxy and dnsmasq from the packages of Debian or
# Ubuntu, httpbin and gunicorn from PyPI into an environment of their own (.venv-httpbin). Does nothing when they are
# there.
set -euo pipefail

# From 0.8 on, the httpbin of PyPI is the fork that is kept up: it runs on the Flask and the Pythons of today.
httpbin_env=$(cd "$(dirname "$0")/../.." && pwd)/.venv-httpbin
if ! "$httpbin_env/bin/python" -c 'import gunicorn, httpbin' 2>/dev/null; then
	echo "== tests/real: installing httpbin and gunicorn into $httpbin_env"
	"${PYTHON:-python3}" -m venv "$httpbin_env"
	"$httpbin_env/bin/python" -m pip install -q --disable-pip-version-check 'httpbin>=0.10.4' 'gunicorn>=23'
fi

# program:package
servers=(nginx:nginx squid:squid tinyproxy:tinyproxy dnsmasq:dnsmasq-base)

missing=()
for entry in "${servers[@]}"; do
	PATH="$PATH:/usr/sbin:/usr/local/sbin:/sbin" command -v "${entry%%:*}" >/dev/null || missing+=("${entry##*:}")
done
if [ "${#missing[@]}" -eq 0 ]; then
	echo "== tests/real: nothing to install from packages"
	exit 0
fi

if ! command -v apt-get >/dev/null; then
	echo "tests/real needs ${missing[*]}, and there is no apt-get here." >&2
	echo "Install ${missing[*]} with your system's package manager and run this again." >&2
	exit 1
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
	if ! command -v sudo >/dev/null; then
		echo "tests/real needs ${missing[*]}: run 'apt-get install ${missing[*]}' as root (there is no sudo here)." >&2
		exit 1
	fi
	as_root=(sudo)
fi

# A package must not start a server of its own on a fixed port: the tests start theirs.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
	echo "== tests/real: $policy keeps packages from starting services while they are installed; it is removed afterwards"
	printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
	"${as_root[@]}" chmod +x "$policy"
	trap '"${as_root[@]}" rm -f "$policy"' EXIT
fi

echo "== tests/real: apt-get install ${missing[*]}"
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
