# Two commands try everything on a fresh machine: `make demo` and `make test`. Both make .venv themselves, and as root
# on a Debian install the system packages of .ci/packages.txt that are missing; what can't be had is left out by name.

PYTHON ?= python3
# How many tests run at once.
JOBS ?= 2
BIN := .venv/bin

.PHONY: help demo test coverage check bench docs lock clean
.DEFAULT_GOAL := help

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

.venv/installed: pyproject.toml constraints.txt .ci/venv
	@.ci/venv $(PYTHON)
	@touch $@

demo: .venv/installed  ## the main job on real input: a base from Debian packages, an image from it, verify, unpack, push, pull
	@.ci/system-packages demo
	@$(BIN)/python demo/demo.py

test: .venv/installed  ## all tests
	@.ci/system-packages test
	@$(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile $(TESTS)

coverage: .venv/installed  ## all tests, and which lines and branches no test reached (fails below the floor)
	@.ci/system-packages test
	@$(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile --cov --cov-report=term:skip-covered $(TESTS)

check: .venv/installed  ## ruff, mypy --strict, and who may import whom
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -q -p no:cacheprovider tests/test_layering.py

bench: .venv/installed  ## side by side with peers, ratios of one run
	@.ci/system-packages bench
	@$(BIN)/python -m benchmarks.run

docs: .venv/installed  ## write docs/cli.md, docs/api.md and the quick table of the command line from the code itself
	@$(BIN)/python docs/generate.py
	@$(BIN)/python docs/generate_api.py
	@$(BIN)/python docs/generate_quick.py

lock: .venv/installed  ## pin the development tools as they are installed now
	@$(BIN)/python -m pip freeze --exclude-editable --exclude pip --exclude setuptools | grep -v '^ocikit' > constraints.txt

clean:  ## everything that was made here, the environment included
	rm -rf .venv .cache build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
