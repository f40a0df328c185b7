# Each target does its own set-up; a second time that costs nothing.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
JOBS ?= 4
BIN := .venv/bin
PIP := $(BIN)/pip --disable-pip-version-check install --quiet
RUNTIME := .venv/.runtime
DEV := .venv/.dev

.PHONY: help install up demo secrets criu test compose-test test-engines lint format bench bench-engines chaos model schema lock clean

help: ## list the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 22

install: $(RUNTIME) ## make .venv with .venv/bin/checkpoints

# The workers alone install in half the time and a third of the space of the tests' tools as well.
$(RUNTIME): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is missing or older than 3.11; install one (Debian 12 and later: apt-get install python3), or name it: make install PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) has no venv module: apt-get install python3-venv" >&2; exit 1; }
	@test -x $(BIN)/pip || { echo "making .venv (about 15 s)"; $(PYTHON) -m venv .venv; }
	@$(PIP) --require-hashes -r requirements.txt
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

$(DEV): requirements-dev.txt $(RUNTIME)
	@$(PIP) --require-hashes -r requirements-dev.txt
	@touch $@

up: $(RUNTIME) ## run everything here until Ctrl-C
	@exec $(BIN)/checkpoints up

# With CRIU a run that waits gives its memory back. It goes into .criu alone; where it cannot, the demo does without.
demo: $(RUNTIME) ## show a wait's three endings
	@if [ ! -x .criu/bin/criu ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! criu check >/dev/null 2>&1; then \
		echo "putting CRIU into .criu (make criu) ..."; \
		timeout 40 scripts/install-criu.sh .criu >/dev/null || echo "that failed; the demo does without" >&2; \
	fi
	@$(BIN)/checkpoints demo

secrets: ## make the secrets that docker-compose.yml reads
	@deploy/secrets.sh

criu: ## put a criu that works into .criu, for the engine `process` and its tests (as root, on Debian)
	@scripts/install-criu.sh .criu

test: $(DEV) ## run the tests
	@$(BIN)/pytest -n $(JOBS) -rs tests

compose-test: $(DEV) ## build, run, kill, scale and stop docker-compose.yml (as root; installs Docker where none runs)
	@$(BIN)/pytest tests/compose -m compose --verbose -o log_cli=true --log-cli-level=INFO
	@echo "compose-test: docker-compose.yml builds, starts, works, heals, scales and stops"

test-engines: $(DEV) ## install what the engines need (as root, on Debian), and run the tests of all of them
	@scripts/install-criu.sh .criu
	@dpkg -s docker.io >/dev/null 2>&1 || apt-get install --yes --quiet --no-install-recommends docker.io
	@tests/engines/cri.sh install .cri
	@$(BIN)/pytest -n $(JOBS) -rs tests/engines tests/images tests/vectors/process
	@$(BIN)/pytest -n $(JOBS) -rs -m "" tests/faults/test_kill_at_every_effect.py -k "[docker or [cri"

lint: $(DEV) ## run the checks
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/basedpyright
	@$(BIN)/lint-imports

format: $(DEV) ## put the code into shape
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

bench: $(DEV) ## measure
	@$(BIN)/python -m bench

bench-engines: $(DEV) ## measure each engine beside its bare tool (as root; 20 minutes; needs what test-engines installs)
	@$(BIN)/python -m bench.engines

chaos: $(DEV) ## kill processes and servers at random while runs wait (20 minutes)
	@$(BIN)/pytest -n 3 -rs tests/faults -m ""

model: $(DEV) ## check the protocol's model in every configuration (10 minutes)
	@$(BIN)/python -m tests.model
	@$(BIN)/pytest tests/model -m slow

schema: $(DEV) ## write shared/sql/schema.sql and docs/schema from the migrations and the types
	@PYTHONPATH=.:tests $(BIN)/python tests/schema.py
	@$(BIN)/python -m shared.schemas docs/schema

# Needs uv; the files serve every platform and Python from 3.11 on.
LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --strip-extras --no-annotate --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"
lock: ## pin all packages again, after a change of pyproject.toml
	@echo 'setuptools>=82' | $(LOCK) -o requirements.txt pyproject.toml -
	@echo 'setuptools>=82' | $(LOCK) -o requirements-dev.txt -c requirements.txt --group dev pyproject.toml -

clean: ## remove what the targets made
	@rm -rf .venv .pytest_cache .ruff_cache .hypothesis .import_linter_cache build dist *.egg-info
	@find shared workers tests bench -name __pycache__ -type d -prune -exec rm -rf {} +
