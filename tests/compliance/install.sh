#!/usr/bin/env bash
# Installs the Autobahn test suite, which is Python 2 code, for an interpreter of its own into .autobahn. Does nothing
# when it is there. PYTHON2 names the interpreter; otherwise python2.7 is looked for, also where pyenv keeps its.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
target=$root/.autobahn

python2=${PYTHON2:-$(command -v python2.7 || true)}
if [ -z "$python2" ] || ! "$python2" -c '' 2>/dev/null; then
	for found in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/2.7.*/bin/python; do
		[ -x "$found" ] && python2=$found
	done
fi
if [ -z "$python2" ] || ! "$python2" -c 'import sys; sys.exit(sys.version_info[:2] != (2, 7))' 2>/dev/null; then
	echo "the Autobahn test suite needs Python 2.7, and there is none here." >&2
	echo "Install one (for example: pyenv install 2.7.18) and say where: make compliance PYTHON2=/path/to/python2.7" >&2
	exit 1
fi
if ! [ -e "$target/python2" ] || ! [ -d "$target/autobahntestsuite" ]; then
	echo "== tests/compliance: installing autobahntestsuite for $("$python2" --version 2>&1) into .autobahn"
	rm -rf "$target"
	"$python2" -m pip install -qq --disable-pip-version-check --no-warn-script-location --target "$target" \
		autobahntestsuite==0.8.2 2>&1 | grep -v -i -e deprecat -e "^ *WARNING: Url" -e "^$" || true
	[ -d "$target/autobahntestsuite" ] || { echo "the installation failed" >&2; exit 1; }
	ln -s "$(command -v "$python2")" "$target/python2"
fi
