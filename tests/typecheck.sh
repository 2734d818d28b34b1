#!/usr/bin/env bash
# Strict mypy on keepwarm as it is shipped: the wheel is built, unpacked elsewhere, and checked there.
# An editable install will not do: type checkers cannot follow its import hook.
#
#   tests/typecheck.sh .venv/bin      # the bin folder of an environment with the dev extra
set -euo pipefail

if [ $# -ne 1 ] || [ ! -x "$1/python" ]; then
    echo "usage: tests/typecheck.sh BIN, the bin folder of an environment with keepwarm's dev extra" >&2
    exit 2
fi
bin=$(cd "$1" && pwd)
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# A copy, since a build leaves its own copies of modules behind and ships them again after they are gone.
echo "== building the wheel"
mkdir "$work/source"
for item in pyproject.toml README.md LICENSE keepwarm pool client ws; do
    cp -r "$root/$item" "$work/source/"
done
isolation=()
if "$bin/python" -c 'import setuptools, sys; sys.exit(int(setuptools.__version__.split(".")[0]) < 77)' 2>/dev/null; then
    isolation=(--no-isolation)
fi
if ! "$bin/python" -m build --wheel "${isolation[@]}" --outdir "$work/wheel" "$work/source" >"$work/log" 2>&1; then
    cat "$work/log" >&2
    exit 1
fi

echo "== unpacking $(basename "$work"/wheel/*.whl)"
"$bin/python" -m pip install -q --disable-pip-version-check --no-deps --target "$work/installed" "$work"/wheel/*.whl
if [ ! -f "$work/installed/keepwarm/py.typed" ]; then
    echo "the wheel lacks keepwarm/py.typed: type checkers would ignore its annotations" >&2
    exit 1
fi
for folder in pool client ws; do
    diff -rq -x __pycache__ "$root/$folder" "$work/installed/keepwarm/$folder"
done

echo "== mypy --strict -p keepwarm"
cd "$work"
MYPYPATH="$work/installed" "$bin/python" -m mypy --strict --config-file "$root/pyproject.toml" \
    --python-executable "$bin/python" --cache-dir "$work/cache" -p keepwarm
