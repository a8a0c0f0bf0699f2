# `make demo` and `make test` need Python 3.11 or newer, git and make; everything else is installed into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := hooks/src core/src $(wildcard plugins/*/src)
METHODS := keyvalue rome memit emmet pmet alphaedit ultraedit ft causal-trace guards kn
ENDS := $(addprefix plugins/editcore-,$(METHODS))

.PHONY: install demo test lint tests check lowest newest clean
# the type checker has one core, beside the tests
MAKEFLAGS += --jobs=2
# install leaves compiling to the first import, which is for nothing where an environment forbids to write what it gives
export PYTHONDONTWRITEBYTECODE :=

install: $(VENV)/installed

$(VENV)/installed: constraints.txt requirements-dev.txt $(wildcard hooks/pyproject.toml core/pyproject.toml plugins/*/pyproject.toml)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --requirement requirements-dev.txt
	touch $@

demo: install
	$(BIN)/editcore demo

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(SOURCES)
	$(BIN)/lint-imports --no-logo --no-cache

test: lint tests

tests: install
	$(BIN)/python -m pytest --numprocesses 2

check: install
	$(BIN)/python -m pip install --quiet --constraint constraints.txt ray
	$(BIN)/python -m pytest plugins/editcore-bench/tests/test_engines.py
	$(BIN)/python -m checks --write checks/results.md

lowest: PINS := --constraint constraints-lowest.txt
lowest newest:  # both ends of the ranges in the metadata; newest is what pip finds without constraints
	$(PYTHON) -m venv --clear $(VENV)-$@
	$(VENV)-$@/bin/python -m pip install --quiet $(PINS) ./hooks ./core $(addprefix ./,$(ENDS)) pytest hypothesis
	$(VENV)-$@/bin/python -m pytest hooks/tests core/tests $(ENDS)

clean:
	rm -rf $(VENV) $(VENV)-lowest $(VENV)-newest
