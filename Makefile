# Everything a developer does, from a fresh clone: needs python3 (3.11 or newer), make and a C library.
# `make help` lists the targets. Python packages go to .venv, from wherever pip is set up to get them.

SHELL := /bin/sh
.DEFAULT_GOAL := help

VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
E2E := tests/e2e
TOOLS := $(E2E)/tools
NPM_STAMP := $(E2E)/node_modules/.installed
TOOLS_STAMP := $(TOOLS)/node_modules/.installed
TOOLS_VENV_STAMP := $(TOOLS)/.venv/.installed
export CHROMIUM ?= /usr/bin/chromium

PORT ?= 4000
RATE ?= 50
WORKERS ?= 2
ARGS ?=

# pytest with $(1); it exits with 5 when it found no test, which is a failure that deserves a sentence.
pytest = $(PY) -m pytest $(1) $(ARGS) || { code=$$?; \
	[ $$code -ne 5 ] || echo "$@: pytest found no test to run; an empty suite is no success" >&2; exit $$code; }

.PHONY: help demo test lint format test-slow test-e2e test-postgres test-real bench bench-windows bench-aggregates bench-tools bench-server schema chromium clean setup

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(STAMP) ## a live market on http://127.0.0.1:4000/demo (PORT=, RATE=)
	$(PY) -m tycostream demo --port $(PORT) --rate $(RATE) $(ARGS)

test: $(STAMP) ## the tests, but for the slow ones and those that need a browser or Docker (ARGS='-k name')
	@$(call pytest,-n $(WORKERS) --dist loadfile -m 'not slow and not e2e and not real')

lint: $(STAMP) ## style, formatting, types, and the direction of imports
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(PY) -m pytest -q tests/test_imports.py

format: $(STAMP) ## mend what ruff can mend
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

test-slow: $(STAMP) ## long property runs and resilience
	@$(call pytest,-n $(WORKERS) --dist loadfile -m 'slow and not e2e and not real')

test-e2e: $(STAMP) $(NPM_STAMP) $(TOOLS_STAMP) $(TOOLS_VENV_STAMP) chromium ## foreign clients and tools (npm, PyPI) and a browser against the running demo
	@$(call pytest,-m e2e)

# Of another server's programs, which must be those of a whole server: initdb, postgres, pg_basebackup.
BIN ?= $(firstword $(wildcard /usr/lib/postgresql/*/bin))
ENGINE_TESTS ?= tests/engines/test_postgres*.py

test-postgres: $(STAMP) ## the suites of the PostgreSQL engine against another server's programs (BIN=/usr/lib/postgresql/15/bin)
	@[ -x "$(BIN)/initdb" ] || { echo "there is no initdb in BIN=$(BIN)" >&2; exit 1; }
	@export TYCO_TEST_POSTGRES_BIN="$(BIN)"; $(call pytest,-n $(WORKERS) --dist loadfile $(ENGINE_TESTS))

test-real: $(STAMP) ## against the databases' own images; needs a Docker engine
	@$(call pytest,-m real)

bench: $(STAMP) ## benchmarks: JSON on standard output, never a test
	$(PY) bench/run.py $(ARGS)

bench-windows: $(STAMP) ## benchmarks of live windows far down a large source (about a minute)
	$(PY) bench/windows.py $(ARGS)

bench-aggregates: $(STAMP) ## benchmarks of live aggregates over a million rows (about three minutes)
	$(PY) bench/aggregates.py $(ARGS)

bench-tools: ## build the measuring tools (needs a C compiler; Linux only)
	$(MAKE) -C bench --no-print-directory

bench-server: $(STAMP) bench-tools ## benchmarks of a whole server, one short run each (ARGS='fanout ingest' for some)
	$(PY) bench/bench.py --short $(ARGS)

schema: $(STAMP) ## the JSON Schema of tycostream.yaml, for editors
	$(PY) -m tycostream config json-schema

clean: ## remove what make and the tools have made here
	rm -rf $(VENV) $(E2E)/node_modules $(TOOLS)/node_modules $(TOOLS)/.venv dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

setup: $(STAMP) ## only install

# The first Python that is new enough; pyenv and the like put names on PATH that do not run, hence the trial.
# uv is used where it is on PATH, unless pip has an index of its own configured, which uv would not read.
$(STAMP): pyproject.toml
	@set -e; \
	new_enough='import sys; sys.exit(sys.version_info < (3, 11))'; \
	if ! { [ -x $(PY) ] && $(PY) -c "$$new_enough"; } 2>/dev/null; then \
		python=; \
		for name in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11 python; do \
			if $$name -c "$$new_enough" >/dev/null 2>&1; then python=$$name; break; fi; \
		done; \
		if [ -z "$$python" ]; then \
			echo "tycostream needs Python 3.11 or newer; python3 here is: $$(python3 --version 2>&1 || true)" >&2; \
			echo "Hint: install a newer Python, or name one: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; \
			exit 1; \
		fi; \
		echo "making $(VENV) with $$($$python --version)"; \
		rm -rf $(VENV); \
		if ! $$python -m venv $(VENV); then \
			rm -rf $(VENV); \
			echo "$$python cannot make a virtual environment." >&2; \
			echo "Hint: on Debian and Ubuntu: apt-get install python3-venv" >&2; \
			exit 1; \
		fi; \
	fi; \
	if command -v uv >/dev/null 2>&1 && [ -z "$$PIP_INDEX_URL" ] \
		&& ! $(PY) -m pip config list 2>/dev/null | grep -q 'index-url'; then \
		uv pip install --quiet --python $(PY) -e '.[dev]'; \
	else \
		$(PY) -m pip install --quiet --disable-pip-version-check -e '.[dev]'; \
	fi; \
	touch $@

$(NPM_STAMP): $(E2E)/package.json $(E2E)/package-lock.json
	@command -v npm >/dev/null 2>&1 || { echo "the foreign clients need Node.js 20 or newer with npm" >&2; exit 1; }
	cd $(E2E) && npm ci --no-fund --no-audit
	@touch $@

$(TOOLS_STAMP): $(TOOLS)/package.json $(TOOLS)/package-lock.json
	@command -v npm >/dev/null 2>&1 || { echo "the tools need Node.js 20 or newer with npm" >&2; exit 1; }
	cd $(TOOLS) && npm ci --no-fund --no-audit
	@touch $@

$(TOOLS_VENV_STAMP): $(TOOLS)/requirements.txt | $(STAMP)
	rm -rf $(TOOLS)/.venv
	$(PY) -m venv $(TOOLS)/.venv
	$(TOOLS)/.venv/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

chromium:
	@if [ -x "$(CHROMIUM)" ]; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
		export DEBIAN_FRONTEND=noninteractive; \
		apt-get update -qq </dev/null && \
		apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core </dev/null >/dev/null; \
	else \
		echo "no Chromium at $(CHROMIUM), and only root can install it: the browser tests will be skipped" >&2; \
	fi
