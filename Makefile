# Every target sets up what it needs first; run again, that costs next to nothing.

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
    "$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$p" && break; done)
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest
# `make test ARGS="-k heredoc"`: more arguments for pytest, the demo or the benchmark
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup setup-% demo screenshots check test test-tools conformance bench format requirements clean

help: ## show what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

setup: setup-test ## system packages, .venv with the lamina command, everything for demo and test

setup-%:
	@test -n "$(PYTHON)" || { echo "setup: no Python 3.11 or newer found; name one with PYTHON=..."; exit 1; }
	@$(PYTHON) tools/setup.py $*

demo: setup-demo ## the three stories, for real
	@$(BIN)/python -m demo.run $(ARGS)

screenshots: setup-test ## the README's pictures, from a run of the demo
	$(BIN)/python -m demo.run order
	$(BIN)/python -m tools.screenshots

check: setup-check ## format, lint, types, imports, fast tests: under a minute
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy --no-error-summary
	$(BIN)/lint-imports
	$(PYTEST) tests/unit -n auto $(ARGS)

test: setup-test check ## every check and test but the slow ones of test-tools
	$(PYTEST) tests --ignore=tests/unit -m "not tools" -n 2 --dist loadfile --durations=10 $(ARGS)

test-tools: setup-test ## cache mounts and fixes with real package managers; slow
	$(PYTEST) tests/tools tests/system/test_fixes.py -m tools -s $(ARGS)

conformance: setup-test ## BuildKit's own cases, from the folder named by LAMINA_CONFORMANCE
	$(PYTEST) tests/conformance $(ARGS)

bench: setup-test ## Lamina beside the other builders of the machine: ratios, medians, peak memory
	@$(BIN)/python -m bench.run $(ARGS)

format: setup-check ## let ruff lay out and mend the code
	$(BIN)/ruff format --quiet .
	$(BIN)/ruff check --fix --quiet .

requirements: ## pin and hash the requirements of pyproject.toml anew
	tools/requirements.sh

clean: ## remove .venv and every cache in the checkout
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
