# `make demo` and `make test` need Python 3.11 or newer, git and make; everything else is installed into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DISTRIBUTIONS := hooks core $(patsubst %/pyproject.toml,%,$(wildcard plugins/*/pyproject.toml))
SOURCES := $(addsuffix /src,$(DISTRIBUTIONS))
# the ends of the ranges are tested with the methods; these three bring tools and data that have ranges of their own
ENDS := $(filter-out hooks core $(addprefix plugins/editcore-,bench demo lm-eval),$(DISTRIBUTIONS))

.PHONY: install demo test lint types lists tests thorough docs check lowest newest catalogue template api site wheels release-check draft clean
# the type checker has one core, beside the tests
MAKEFLAGS += --jobs=2
# pip leaves compiling to the first import; some environments forbid writing .pyc files
export PYTHONDONTWRITEBYTECODE :=

install: $(VENV)/installed

$(VENV)/installed: constraints.txt requirements-dev.txt $(wildcard hooks/pyproject.toml core/pyproject.toml plugins/*/pyproject.toml)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --requirement requirements-dev.txt
	touch $@

demo: install
	$(BIN)/editcore demo

lint: types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/python -m upkeep.words
	$(BIN)/python -m upkeep.lists --check
	$(BIN)/towncrier build --draft --version next > /dev/null

types: install
	$(BIN)/mypy $(SOURCES) upkeep
	$(BIN)/lint-imports --no-logo --no-cache

lists: install  # write the lists that follow from the distributions
	$(BIN)/python -m upkeep.lists

test: lint tests

tests: install
	$(BIN)/python -m pytest --numprocesses 2 --dist loadgroup

thorough: install  # what `make test` leaves out: second shapes and long roads
	$(BIN)/python -m pytest --numprocesses 2 --dist loadgroup -m thorough

docs: install
	$(BIN)/python -m pytest tests/test_docs.py tests/test_walkthrough.py plugins/editcore-bench/tests/test_datasets_docs.py -m ''

check: thorough
	$(BIN)/python -m pip install --quiet --constraint constraints.txt ray
	$(BIN)/python -m pytest plugins/editcore-bench/tests/test_engines.py checks/test_wrong_editors.py -m ''
	$(BIN)/python -m checks --write checks/results.md --jobs 2

lowest: PINS := --constraint constraints-lowest.txt
lowest newest:  # both ends of the ranges in the metadata; newest is what pip finds without constraints
	$(PYTHON) -m venv --clear $(VENV)-$@
	$(VENV)-$@/bin/python -m pip install --quiet $(PINS) ./hooks ./core $(addprefix ./,$(ENDS)) pytest hypothesis
	$(VENV)-$@/bin/python -m pytest hooks/tests core/tests $(ENDS)

wheels: install  # the wheel and the source archive of every distribution, as the index would check them
	rm -rf dist
	for folder in $(DISTRIBUTIONS); do $(BIN)/python -m build --no-isolation --outdir dist $$folder > /dev/null || exit 1; done
	$(BIN)/python -m twine check --strict dist/*

catalogue: install  # install every plugin of docs/catalogue.toml and run the conformance suites on it
	$(BIN)/python -m upkeep.catalogue

template: install  # the plugin template from outside: built, installed by name, its tests, an edit, an update
	$(BIN)/python -m checks template

api: install  # what the public interface lost since the last tag
	$(BIN)/python -m upkeep.api

site: install  # the documentation as a site in build/site, without network
	$(BIN)/python -m upkeep.site

release-check: install  # make release-check TAG=v0.1.0
	$(BIN)/python -m upkeep.release $(TAG)

draft: install  # what the next section of the changelog would say
	$(BIN)/towncrier build --draft --version next

clean:
	rm -rf dist build $(VENV) $(VENV)-lowest $(VENV)-newest
