# Two commands on a fresh machine:  make demo   and   make test
PYTHON ?= python3
VENV   := .venv
LODE   := $(VENV)/bin/lode
STAMP  := $(VENV)/.installed

.PHONY: demo test check data clean install

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --upgrade pip
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: $(STAMP)
	$(VENV)/bin/python examples/demo.py

test: $(STAMP)
	$(VENV)/bin/python -m pytest
	$(VENV)/bin/python -m pytest -m slow

check: $(STAMP)
	$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(VENV)/bin/python .ci/caps.py

data:
	./bench/fetch_data.sh

clean:
	rm -rf demo build dist .pytest_cache .mypy_cache .ruff_cache
