# `make demo` and `make test` need Python >= 3.10, make and a package registry; the rest they make themselves.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
CLUSTER := .venv/.cluster

.PHONY: help venv demo test test-slow test-gpu lint format bench reproduce results notebooks constraints clean

help:
	@echo "make demo        a study of small experiments that ends with a report    (3 minutes, no download)"
	@echo "make test        the fast tests                                          (2 minutes)"
	@echo "make test-slow   the tests that train for longer, some on a Ray cluster (installs Ray, 250 MB)"
	@echo "make lint        ruff, check and format"
	@echo "make bench       speed against the bare loop and the course-style loop, and of a study's two jobs"
	@echo "make reproduce   every study, what is missing of it; says beforehand how long (resumable)"
	@echo "make results     docs/results and the README's table, from runs/ and what is published already"
	@echo "make notebooks   execute the notebooks' sources and write them with their outputs"
	@echo "make constraints resolve the pinned versions again"

venv: $(READY)

$(READY): setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "firstlight needs Python >= 3.10; name one with make PYTHON=...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev,export,notebooks]"
	touch $(READY)

$(CLUSTER): $(READY)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[cluster]"
	touch $(CLUSTER)

demo: $(READY)
	$(BIN)/python -m scripts.demo

test: $(READY)
	$(BIN)/python -m pytest -m "not slow and not gpu" -n 2

test-slow: $(CLUSTER)
	$(BIN)/python -m pytest -m "slow and not gpu"

test-gpu: $(READY)
	$(BIN)/python -m pytest -m gpu

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY)
	$(BIN)/python -m benchmarks.mnist_epoch
	$(BIN)/python -m benchmarks.rnn_step
	$(BIN)/python -m benchmarks.bf16_vgg
	$(BIN)/python -m benchmarks.study_jobs

reproduce: $(READY)
	$(BIN)/firstlight reproduce

results: $(READY)
	$(BIN)/firstlight report --publish docs/results --readme README.md

notebooks: $(READY)
	$(BIN)/python notebooks/execute.py

constraints: $(READY)
	$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --upgrade --all-extras --no-annotate --no-emit-index-url \
		--custom-compile-command "make constraints" --output-file constraints.txt setup.cfg

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache
