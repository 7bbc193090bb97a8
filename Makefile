# make demo   the main experiment: a recurrent circuit reads handwritten digits, taught by a cerebellum
# make test   the tests, in minutes          make test-all  those marked slow too
# make lint   style and types                make check     every rule's claim, measured
# make clean  remove the environment and caches; results under runs/ are kept

PYTHON ?= python3
BIN := .venv/bin
INPUTS := pyproject.toml constraints.txt hatch_build.py

.PHONY: demo test test-all lint check clean

demo: .venv/installed
	$(BIN)/bioplaus run sequential_digits --workers 2

# One thread a worker: two test processes that each use every core only get in each other's way.
test: .venv/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "not slow"

test-all: .venv/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

check: .venv/installed
	$(BIN)/bioplaus check

clean:
	rm -rf .venv dist build .pytest_cache .ruff_cache .hypothesis .benchmarks .coverage .coverage.* htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "bioplaus needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1)."; \
	  echo "Name another one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }

# The stamps make an installation happen again only when what it installs changes.
.venv/installed: $(INPUTS) | $(BIN)/python
	@echo "Installing into .venv; the first time this fetches torch and takes a few minutes."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e . -c constraints.txt
	@touch $@

.venv/installed-dev: $(INPUTS) | $(BIN)/python
	@echo "Installing into .venv; the first time this fetches torch and takes a few minutes."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]' -c constraints.txt
	@touch $@ .venv/installed
