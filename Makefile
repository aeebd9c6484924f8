# Every target does its own set-up: `make demo` and `make test` work on a fresh clone.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/bash

BIN := .venv/bin
STAMP := .venv/.ready
PYTEST := $(BIN)/pytest
# Hash-pinned, for every platform and Python of ours, and without a word about where from: that is
# the business of the machine that installs.
COMPILE := $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-annotate --no-header --quiet

# How often `make test-kafka` runs them.
REPEAT := 10

.PHONY: help setup demo test test-kafka test-slow test-all soak check simulation bench image matrix kafka-matrix dist docs audit sbom settings-table metrics-table lock clean

help: ## what can be made
	@sed -nE 's/^([a-z-]+):.*## (.*)/make \1\t\2/p' Makefile | expand -t 18

setup: $(STAMP) ## check prerequisites, make .venv from the lock, fetch Kafka

$(STAMP): requirements-dev.lock pyproject.toml .ci/prerequisites
	@python=$$(.ci/prerequisites) && "$$python" -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--require-hashes --requirement requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--no-deps --no-build-isolation --editable .
	$(BIN)/python -m consumer.sandbox.kafka
	@touch $@

demo: $(STAMP) ## the whole way on this machine: a real Kafka, a simulated AnythingLLM
	$(BIN)/anythingllm-consumer demo

test: $(STAMP) ## all but the slow tests, the journey on a real Kafka among them
	@$(BIN)/python -m tests.runs.side_by_side quick

test-kafka: $(STAMP) ## REPEAT=10 runs of the tests on Kafka, with a busy loop on each core
	@$(BIN)/python -m tests.runs.under_load $(REPEAT)

test-rest: $(STAMP) ## what `make test-all` has beyond `make test`
	@$(BIN)/python -m tests.runs.side_by_side slow

test-all: test test-rest ## all but what `make test-slow` runs

test-slow: $(STAMP) ## before a release: kills by the dozen, long runs, every combination
	@$(BIN)/python -m tests.runs.side_by_side release

soak: $(STAMP) ## MINUTES=30 of traffic on a real Kafka: memory, files and threads have to stay flat
	SOAK_MINUTES=$(or $(MINUTES),30) $(PYTEST) -q -s tests/e2e/test_soak.py

simulation: $(STAMP) ## SEEDS=1000 schedules at random in virtual time, from FIRST=0; or SEED=123, made small; PACKING=10
	@$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),1000)) \
		$(if $(FIRST),--first $(FIRST)) $(if $(WRONG),--wrong $(WRONG)) \
		$(if $(PACKING),--packing $(PACKING))

matrix: $(STAMP) ## PYTHONS="3.11 3.13": the unit tests with newest and with lowest packages on each
	@$(BIN)/python -m tests.runs.matrix $(or $(PYTHONS),3.11 3.13)

kafka-matrix: $(STAMP) ## VERSIONS="3.9.2 4.1.2 4.4.0": the core of the tests on Kafka on each
	@$(BIN)/python -m tests.runs.kafka_versions $(or $(VERSIONS),3.9.2 4.1.2 4.4.0)

dist: $(STAMP) ## build wheel and sdist into dist/, and look at them as PyPI would
	rm -rf dist
	$(BIN)/python -m build --no-isolation .
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl

docs: $(STAMP) ## the reference of the client as a library, from docstrings: build/docs; published nowhere
	$(BIN)/python -m sphinx -q -W --keep-going -E -d build/docs-cache docs build/docs

check: $(STAMP) ## format, lint, types, architecture; changes nothing
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy --strict consumer tests
	$(PYTEST) -q tests/unit/test_architecture.py

bench: $(STAMP) ## how fast, beside the bound and its peers; ARGS="skew", ARGS=--help for more
	@$(BIN)/python -m tests.bench $(ARGS)

image: $(STAMP) ## build deploy/Dockerfile with buildah and run it on a real Kafka; as root, on Debian
	@$(BIN)/python -m tests.deploy.make_image

audit: $(STAMP) ## known vulnerabilities of the locked packages; AUDIT_REQUIRED=1: red where nobody can be asked
	@$(BIN)/python -m tests.runs.supply_chain audit requirements.lock

sbom: $(STAMP) ## what the service is made of, as CycloneDX: build/sbom.cdx.json
	@$(BIN)/python -m tests.runs.supply_chain sbom requirements.lock build/sbom.cdx.json

settings-table: $(STAMP) ## write the table of settings into README.md
	$(BIN)/python -m consumer.settings README.md

metrics-table: $(STAMP) ## write the table of metrics into README.md
	$(BIN)/python -m consumer.telemetry README.md

lock: $(STAMP) ## resolve the newest versions that pyproject.toml allows
	$(COMPILE) --upgrade --extra dev --output-file requirements-dev.lock pyproject.toml
	$(COMPILE) --constraint requirements-dev.lock --extra service --output-file requirements.lock pyproject.toml
	$(COMPILE) --constraint requirements-dev.lock --extra service --extra otel --output-file requirements-otel.lock pyproject.toml
	echo hatchling | $(COMPILE) --constraint requirements-dev.lock \
		--output-file requirements-build.lock -

clean: ## remove what was made here; Kafka's jars stay in the user's cache
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find consumer tests -name __pycache__ -type d -prune -exec rm -rf {} +
