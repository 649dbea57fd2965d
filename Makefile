# `make demo` runs the main job, `make test` the tests; both install what they need first.
.DEFAULT_GOAL := help
.PHONY: help setup demo up down test chaos lint lock results clean

PYTHON ?= python3
BIN := .venv/bin
export OMP_NUM_THREADS ?= 1
export HF_HUB_OFFLINE ?= 1
export TOKENIZERS_PARALLELISM ?= false
export PORT ?= 4200

help:  ## Show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 10

setup: .venv/.installed  ## Install everything that requirements.lock pins into .venv

.venv/.installed: requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e .
	touch $@

# Both start a Prefect of their own, whatever `make up` wrote into .env.
demo test chaos: export PREFECT_API_URL ?=

demo: setup  ## Make a world, label it, question the labels, train, mask a new image
	$(BIN)/python -m flows.demo $(DEMO)

up: setup  ## Start a Prefect server, a worker and all deployments in the background (PORT=4200)
	$(BIN)/python -m flows.up $(UP)

down:  ## Stop what `make up` started
	$(BIN)/python -m flows.up --down

test: setup  ## Run the tests
	$(BIN)/pytest -n 3 --maxschedchunk 1

chaos: setup  ## Break labeling, LMM server, Ray and Prefect at random moments, sixty times (ROUNDS=60 MINUTES=60)
	$(BIN)/python tests/chaos/storm.py --rounds $(or $(ROUNDS),60) --minutes $(or $(MINUTES),60)

lint: setup  ## Check style, import laws and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

lock:  ## Pin the whole dependency tree anew
	$(BIN)/uv pip compile --python-version 3.11 --no-annotate --no-header --quiet requirements.in -o requirements.lock

results: setup  ## Reproduce docs/results.md (five minutes on two cores)
	$(BIN)/python -m benchmarks.results

clean:  ## Remove what the demo wrote
	rm -rf demo
