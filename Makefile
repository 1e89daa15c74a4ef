# Two commands on a fresh machine:  make demo   and   make test
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# One process a core for the tests, one thread each: two test processes that each start a thread a core fight.
JOBS   ?= $(shell nproc 2>/dev/null || echo 2)
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(JOBS) --dist worksteal

.PHONY: install demo test check docs data clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

# Prepares the image sample that ships here, trains a GAN on it for a minute, measures it and shows where to look; then a
# mini-study of thirty tiny GPTs on a book, and what it advises to buy.
demo: $(STAMP)
	$(BIN)/python examples/demo.py --minutes 1
	$(BIN)/python examples/demo_study.py

# Every test, the fast ones first.
test: $(STAMP)
	$(PYTEST)
	$(PYTEST) -m slow

check: $(STAMP)
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python .ci/caps.py

# Rewrites what is generated from the code in docs/; a test fails where it is stale.
docs: $(STAMP)
	$(BIN)/python docs/generate.py

# Larger real data for benchmarks, from Debian's packages.
data:
	./bench/fetch_data.sh

clean:
	rm -rf demo build dist .pytest_cache .mypy_cache .ruff_cache
