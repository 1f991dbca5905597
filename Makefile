# `make run` and `make test` work on a fresh machine with Python >= 3.11: they install what they need first.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
export HOST     ?= 127.0.0.1
export PORT     ?= 8000
export DATA_DIR ?= .data

.PHONY: help install run test lint bench clean

help:
	@echo "make run      start everything at http://$(HOST):$(PORT)  (HOST=, PORT=, DATA_DIR=)"
	@echo "make test     lint, type-check and run every test"
	@echo "make lint     ruff, mypy, import-linter, bandit"
	@echo "make bench    benchmarks: a table, and JSON"
	@echo "make install  only install"
	@echo "make clean    remove the virtual environment (never data)"

install: $(VENV)/.installed
run: $(VENV)/.installed
	@exec $(BIN)/inpaint serve

test: lint
	$(BIN)/python -m pytest

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/bandit -q -r app models worker -c pyproject.toml

bench: $(VENV)/.installed-dev
	$(BIN)/inpaint bench

clean:
	rm -rf $(VENV)

# A stamp per set of extras, so that a second `make run` installs nothing and starts at once.
$(VENV)/.installed: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[all]'
	@touch $@

$(VENV)/.installed-dev: pyproject.toml tests/install-tools.sh
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@bash tests/install-tools.sh
	@touch $@ $(VENV)/.installed
