#!/usr/bin/env bash
# The whole suite on every CPython from 3.11 on that this machine has, each in an environment of its own
# (.venv-3.11, .venv-3.12, ...; kept for the next time). Further arguments go to pytest.
#
#   tests/every_python.sh [-x ...]
set -euo pipefail

cd "$(dirname "$0")/.."
shopt -s nullglob

declare -A found=()
consider() { # the first one of each version wins
    local version
    version=$("$1" -c 'import sys; v = sys.version_info
print(f"{v.major}.{v.minor}" if sys.implementation.name == "cpython" and v >= (3, 11) else "")' 2>/dev/null) || return 0
    if [ -n "$version" ] && [ -z "${found[$version]:-}" ]; then
        found[$version]=$1
    fi
}

IFS=: read -r -a folders <<<"$PATH"
for folder in "${folders[@]}" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/*/bin; do
    for python in "$folder"/python3.1[1-9] "$folder"/python3; do
        if [ -x "$python" ]; then
            consider "$python"
        fi
    done
done
if [ ${#found[@]} -eq 0 ]; then
    echo "no Python >= 3.11 on PATH or under ~/.pyenv/versions" >&2
    exit 1
fi
versions=$(printf '%s\n' "${!found[@]}" | sort -V)
for version in $versions; do
    echo "found Python $version: ${found[$version]}"
done

failed=()
for version in $versions; do
    venv=.venv-$version
    echo "== Python $version in $venv"
    if [ ! -x "$venv/bin/python" ] || [ pyproject.toml -nt "$venv/.stamp" ]; then
        "${found[$version]}" -m venv "$venv"
        "$venv/bin/python" -m pip install -q --disable-pip-version-check -e '.[dev]'
        touch "$venv/.stamp"
    fi
    "$venv/bin/python" -m pytest -q -p no:cacheprovider "$@" || failed+=("$version")
done

if [ ${#failed[@]} -gt 0 ]; then
    echo "failed on Python: ${failed[*]}" >&2
    exit 1
fi
echo "passed on Python:" $versions
