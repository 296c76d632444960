# From a fresh clone, `make compare` and `make test` each do everything: make .venv, install, run.
#
#   make compare ARGS="--preset smoke"        any arguments of `archbench compare`
#   make test ARGS="-m slow"                  any arguments of pytest
#   make mutants ARGS="--most 2"              the mutation score of the contract, by two edits of each kind
#   make suite-mutants ARGS="list"            small edits of the source, and which ones the tests notice
#   make reference                            the pages of docs/reference, from the tables committed there
#   make gpu ARGS="--minutes 8"               the first hour on a GPU, in pieces; goes on where it stopped
#   make compare PYTHON=python3.12            another Python, 3.11 or later

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
export OMP_NUM_THREADS := 1

.PHONY: compare test check mutants suite-mutants audit reference gpu clean

compare: .venv/installed
	$(BIN)/archbench compare $(ARGS)

test: .venv/installed-test
	$(BIN)/python -P -m pytest -n 2 --dist loadfile $(ARGS)

check: .venv/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	rm -rf build
	$(PIP) install --no-deps --no-build-isolation --target build/check .
	$(BIN)/mypy
	cd build/check && ../../$(BIN)/lint-imports --config ../../pyproject.toml

mutants: .venv/installed-test
	PYTHONPATH=tests $(BIN)/python -m mutations $(ARGS)

suite-mutants: .venv/installed-test
	$(PIP) install --editable '.[mutants]'
	PYTHONPATH=tests $(BIN)/python -m suite_mutants $(ARGS)

reference: .venv/installed
	$(BIN)/python -P docs/reference/build.py $(ARGS)

gpu: .venv/installed
	$(BIN)/python -P docs/gpu/hour.py $(ARGS)

audit: .venv/installed
	$(PIP) install pip-audit
	$(BIN)/python -m pip_audit --skip-editable --progress-spinner off

.venv/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "archbench needs Python 3.11 or later; name one: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	@echo "Installing archbench and what it needs into .venv (1.7 GB or more; minutes the first time)"
	$(PIP) install --editable .
	@touch $@

.venv/installed-test: .venv/installed
	@echo "Installing what the tests need into .venv"
	$(PIP) install --editable '.[test]'
	@touch $@

clean:
	rm -rf .venv build dist *.egg-info
