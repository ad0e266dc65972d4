# Every command of this repository, each one line; `make` alone lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
PIP_ARGS ?=
BIN := .venv/bin
# Each test goes to whichever of the processes is idle; the system tests wait for half of their time.
WORKERS ?= 2
PYTEST := $(BIN)/pytest --numprocesses $(WORKERS) --dist worksteal
PIP := $(BIN)/python -m pip install --quiet --no-input --disable-pip-version-check
PACKAGES := $(PIP) --constraint constraints.txt $(PIP_ARGS)
METADATA := constraints.txt pyproject.toml libs/fedbus/pyproject.toml $(wildcard services/*/pyproject.toml)
SERVICES := -e services/controller -e services/collector -e services/edge_agent -e services/repository -e services/inference
TYPED := $(wildcard libs services tests benchmarks)

.PHONY: help install demo test lint type system storm bench memory cover docs clean broker

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: broker .venv/.dev ## Set up everything a developer needs

demo: broker .venv/.demo ## Train on handwritten digits with 8 agents, then ask the model
	@$(BIN)/fedbus demo

test: broker .venv/.dev ## Run all tests (PYTEST_ARGS="-k name" for some)
	@$(PYTEST) $(PYTEST_ARGS)

lint: .venv/.dev ## Check style, format and words
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/python .ci/words.py

type: .venv/.dev ## Check types
	@$(BIN)/mypy $(TYPED)

system: broker .venv/.dev ## Run only the tests with a real broker and real processes
	@$(PYTEST) tests/system $(PYTEST_ARGS)

storm: broker .venv/.dev ## Repeat the fault tests on real processes over 20 seeds
	@FEDBUS_STORM_SEEDS=$${FEDBUS_STORM_SEEDS:-20} $(BIN)/pytest tests/system -m storm $(PYTEST_ARGS)

bench: broker .venv/.dev ## Measure; JSON comes out
	@$(BIN)/python -m benchmarks $(BENCH_ARGS)

memory: broker .venv/.dev ## Measure what 2,000 rounds, jobs, refusals and connections leave in memory
	@$(BIN)/python -m benchmarks.memory --json - $(BENCH_ARGS)

cover: broker .venv/.dev ## Run all tests and say which lines none of them reached
	@$(BIN)/pytest --cov --cov-report=term-missing $(PYTEST_ARGS)

docs: .venv/.dev ## Write the generated pages again
	@$(BIN)/python docs/generate.py

clean: ## Remove everything these commands made
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage* htmlcov build dist
	find libs services tests benchmarks examples -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# --- what the commands stand on; the files .venv/.* are stamps, so that a second call is instant -------

broker:
	@mosquitto/install.sh

.venv/.base:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(not (3, 11) <= v <= (3, 13) and "fedbus is tested on Python 3.11 to 3.13 and $(PYTHON) is %d.%d; try: make PYTHON=python3.11 …" % v)'
	@echo "Making .venv …"
	@$(PYTHON) -m venv .venv
	@$(PIP) $(PIP_ARGS) 'pip>=25.1' # the first that knows dependency groups
	@touch $@

.venv/.demo: .venv/.base $(METADATA)
	@echo "Installing what the demo needs …"
	@$(PACKAGES) -e 'libs/fedbus[accounting,cli,compression,encryption,http,noise,secure-aggregation,tflite]' $(SERVICES) --group demo
	@touch $@

.venv/.dev: .venv/.base $(METADATA)
	@echo "Installing what developers need …"
	@$(PACKAGES) -e 'libs/fedbus[accounting,api-docs,cli,compression,dp-sgd,encryption,grpc,http,images,noise,onnx,onnx-export,parquet,plot,secure-aggregation,tensorflow,tflite,torch]' $(SERVICES) -e 'services/repository[mongo]' --group dev
	@touch .venv/.demo $@
