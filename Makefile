# Every target works from a fresh clone: the first one that needs it sets up .venv.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
URL    ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all check real compliance bench bench-pool faults soak examples docs clean

help:            ## say what there is
	@grep -hE '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/	/' | expand -t 16

$(VENV)/.stamp: pyproject.toml
	@echo "== setting up $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "keepwarm needs Python 3.11 or newer; this is $$($(PYTHON) --version). Try: make PYTHON=python3.12 <target>"; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install -q --disable-pip-version-check --upgrade pip
	@$(BIN)/pip install -q --disable-pip-version-check -e '.[dev]'
	@touch $@

$(VENV)/.docs: $(VENV)/.stamp
	@$(BIN)/pip install -q --disable-pip-version-check -e '.[docs]'
	@touch $@

setup: $(VENV)/.stamp ## make .venv with keepwarm and what its tests need
	@echo "ready: $(BIN)/python -c 'import keepwarm'"

demo: $(VENV)/.stamp ## the main job: tens of thousands of keepalive calls to real servers (URL=https://... for your own)
	@$(BIN)/python -m examples.demo $(URL)

test: $(VENV)/.stamp ## all tests that need pip packages only
	@$(BIN)/python -m pytest -q

test-all: ## the tests on every Python >= 3.11 of this machine
	@tests/every_python.sh

check: docs ## ruff, strict mypy on the installed wheel, layering, the pages and their links
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@tests/typecheck.sh $(BIN)
	@$(BIN)/python -m pytest -q tests/test_layering.py tests/test_names.py tests/test_map.py

real: $(VENV)/.stamp ## the same calls against nginx, squid, tinyproxy, dnsmasq and httpbin (installs them)
	@tests/real/install.sh
	@$(BIN)/python -m pytest -q -p no:cacheprovider tests/real

compliance: $(VENV)/.stamp ## WebSocket conformance: Autobahn's client cases on both loops, a few of each compression; two minutes (installs Autobahn)
	@tests/compliance/install.sh
	@$(BIN)/python -m tests.compliance --quick

bench: $(VENV)/.stamp ## the warm path against the floor and the peers, in one interleaved run; then the pool alone
	@$(BIN)/pip install -q --disable-pip-version-check -e '.[bench,fast]'
	@$(BIN)/python -m benchmarks
	@echo
	@$(BIN)/python -m benchmarks.pool_bench

bench-pool: $(VENV)/.stamp ## the pool alone, without sockets: microseconds for a step, and how they grow
	@$(BIN)/python -m benchmarks.pool_bench

faults: $(VENV)/.stamp ## every network fault, on every way, in every phase: the table (ARGS=--write: into docs/ too)
	@$(BIN)/python -m tests.matrix $(ARGS)

soak: $(VENV)/.stamp ## the long runs: every cancellation point, property test, leaks
	@$(BIN)/python -m pytest -q --soak -m soak

examples: $(VENV)/.stamp ## run every example against a local server
	@$(BIN)/python -m pytest -q tests/test_examples.py

docs: $(VENV)/.docs ## the pages with the API reference, as HTML in build/docs; a link that leads nowhere is an error
	@rm -rf build/docs
	@$(BIN)/python -m sphinx -q -E -W --keep-going -d build/doctrees docs build/docs
	@! grep -rnE '<(script|link|img)[^>]*(src|href)="(https?:)?//' build/docs --include='*.html'
	@echo "the pages: build/docs/index.html"

clean:           ## remove what the targets made
	rm -rf $(VENV) .venv-httpbin build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
