# `make demo` runs the main job, `make test` the tests; both install what they need first.
.DEFAULT_GOAL := help
SHUFFLE := $(if $(SEED),-p randomly --randomly-seed=$(SEED))
.PHONY: help setup demo up down test test-slow test-all chaos fuzz lint docs dist lock results bench-scale clean

BIN := .venv/bin
PYTHONS := $(or $(PYTHON),python3 python3.13 python3.12 python3.11)
FITS := import ensurepip, sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
export OMP_NUM_THREADS ?= 1
export HF_HUB_OFFLINE ?= 1
export TOKENIZERS_PARALLELISM ?= false
export PORT ?= 4200
# Without bytecode every process compiles Prefect and torch anew: 2 to 4 s of CPU instead of 1.
unexport PYTHONDONTWRITEBYTECODE

help:  ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

setup: .venv/.installed  ## Install everything that requirements.lock pins into .venv

.venv/.installed: requirements.lock pyproject.toml | $(BIN)/python
	test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-build-isolation --no-deps -e .
	touch $@

$(BIN)/python:
	@for python in $(PYTHONS); do if $$python -c '$(FITS)' 2>/dev/null; then exec $$python -m venv .venv; fi; done; \
	echo "no Python 3.11, 3.12 or 3.13 with venv among: $(PYTHONS). Install one, for example by" \
		"'apt-get install python3.12-venv', or name it: make setup PYTHON=/path/to/python3.12" >&2; exit 1

# Both start a Prefect of their own, whatever `make up` wrote into .env.
demo test test-slow chaos fuzz bench-scale: export PREFECT_API_URL ?=

demo: setup  ## Make a world, label it, question the labels, train, mask a new image
	$(BIN)/python -m flows.demo $(DEMO)

up: setup  ## Start a Prefect server, a worker and all deployments in the background (PORT=4200)
	$(BIN)/python -m flows.up $(UP)

down:  ## Stop what `make up` started
	$(BIN)/python -m flows.up --down

test: setup  ## Run the fast tests; SEED=1 shuffles them
	$(BIN)/pytest -n 3 -m "not slow" $(SHUFFLE)

test-slow: setup  ## Run the slow tests: docs, servers, Ray, wheels, chaos, trainings
	$(BIN)/pytest -n 3 --maxschedchunk 1 -m "slow and not alone" $(SHUFFLE)
	$(BIN)/pytest -n 0 -m "slow and alone" $(SHUFFLE)

test-all: test test-slow  ## Run all tests

chaos: setup  ## Break labeling, LMM server, Ray and Prefect at random moments, sixty times (ROUNDS=60 MINUTES=60)
	$(BIN)/python tests/chaos/storm.py --rounds $(or $(ROUNDS),60) --minutes $(or $(MINUTES),60)

fuzz: setup  ## Feed hostile input to every reader and page, and count the outcomes (EXAMPLES=500 SEED=0)
	$(BIN)/python tests/fuzz/fuzz.py --examples $(or $(EXAMPLES),500) --seed $(or $(SEED),0)

lint: setup  ## Check style, import laws and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

docs: setup  ## Build the documentation site into build/site; open build/site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

dist: setup  ## Build the wheel into dist/
	rm -rf build/lib build/bdist.*
	$(BIN)/uv build --quiet --wheel --no-build-isolation --python $(BIN)/python --out-dir dist

lock:  ## Pin the whole dependency tree anew, for every Python and platform
	$(BIN)/uv pip compile --universal --python-version 3.11 --all-extras --no-annotate --no-header --quiet pyproject.toml -o requirements.lock

results: setup  ## Reproduce docs/results.md (five minutes on two cores)
	$(BIN)/python -m benchmarks.results

bench-scale: setup  ## Measure how work grows with the data, as CPU seconds at N, 2N and 4N (some minutes on two cores)
	$(BIN)/python -m benchmarks.scale --out benchmarks/results/scale.json

clean:  ## Remove what the demo, the documentation and the wheel wrote
	rm -rf demo build dist
