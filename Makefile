# Every task of this project; hooks, .ci/run and GitHub Actions call the same targets.
.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c

export MLFLOW_TRACKING_URI ?= sqlite:///$(CURDIR)/.touchstone/mlflow/mlflow.db
export MLFLOW_DISABLE_TELEMETRY := true
export DO_NOT_TRACK := true
unexport PYTHONDONTWRITEBYTECODE  # compiled once, every later process starts in half the time
export PATH := $(CURDIR)/.touchstone/tools/bin:$(PATH)

UV := $(shell command -v uv 2>/dev/null || echo .touchstone/tools/bin/uv)
RUN := $(UV) run --no-sync
# each file of tests is one process's, in the order that tests/conftest.py gives them
PYTEST := $(RUN) pytest -n auto --dist loadfile --no-loadscope-reorder
CHANNEL ?= dev

help:  ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/.made  ## make the environment from uv.lock (brings uv itself when it is missing)

.venv/.made: pyproject.toml uv.lock | $(UV)
	$(UV) sync --locked --all-extras --quiet
	@touch $@

.touchstone/tools/bin/uv:
	@echo "uv is not installed: putting it into .touchstone/tools"
	python3 -m venv .touchstone/tools
	.touchstone/tools/bin/pip install --quiet --disable-pip-version-check uv==0.13.9

demo: setup  ## the whole loop once: sweep → winner → gate → release → API → rollback (VERBOSE=1 shows what every command says)
	@$(RUN) python -m harness.cli.demo $(if $(VERBOSE),--verbose)

test: setup  ## run the whole test suite
	$(PYTEST)

test-again: setup  ## try once more, one after another, the few tests that failed: what passes now is named as unsteady
	$(RUN) python -m tests.support.again

quick: setup  ## the developer's loop: lint, import rules, every test that is done at once
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) lint-imports
	$(PYTEST) -q -m "not slow"

check: setup  ## lint, format, types, import rules, licences
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy
	$(RUN) lint-imports
	$(RUN) pytest -q tests/test_licences.py

fix: setup  ## format and mend what can be mended by itself
	$(RUN) ruff check --fix .
	$(RUN) ruff format .

bench: setup  ## measure again what reports/bench/ says (DATA="PATH …" retrieval on your sets, GRID=PATH a search on one, WICE=PATH, SAFETY="XSTEST BIPIA")
	$(RUN) python bench/ann.py
	$(RUN) python bench/additions.py
	$(RUN) python bench/additions.py --behind
	$(RUN) python bench/techcorp.py
	$(RUN) python bench/verdict.py
	$(RUN) python bench/verdict_peers.py
	$(RUN) python bench/serve.py
	$(RUN) python bench/lean.py
	$(RUN) python bench/soak.py
	$(RUN) python bench/journal.py
	$(RUN) python bench/reader.py
	$(RUN) python bench/models.py
	$(RUN) python bench/overhead.py
	$(RUN) python bench/embed.py
	$(RUN) python bench/simulation.py
	$(RUN) python bench/winners_curse.py --chart docs/winners-curse.svg
	$(RUN) python bench/pruning.py
	$(RUN) python bench/scale.py
	$(RUN) python bench/ray_workers.py
	$(RUN) python bench/index_build.py
	$(RUN) python bench/sweep_quality.py $${GRID:-}
	$(RUN) python bench/pooling.py $${DATA:-}
	if [ -n "$${DATA:-}" ]; then $(RUN) python bench/retrieval.py $$DATA; fi
	if [ -n "$${DATA:-}" ]; then $(RUN) python bench/sweep_reuse.py $${DATA%% *}; fi
	if [ -n "$${WICE:-}" ]; then $(RUN) python bench/groundedness.py $$WICE; fi
	if [ -n "$${SAFETY:-}" ]; then $(RUN) python bench/safety.py $$SAFETY; fi

versions: setup  ## write down the outputs of plug-ins whose version was raised
	$(RUN) python -m tests.contract.test_versions --write

docs: setup  ## write the pages that are made from the code
	$(RUN) python docs/make_settings.py
	$(RUN) python docs/make_metrics.py
	$(RUN) python docs/make_configuration.py
	$(RUN) python docs/make_monitoring.py

image-smoke: setup  ## build the images without Docker, start them read-only as nobody (IMAGES="serving harness"; REPORT=1: measure both, write reports/bench/image.md)
	$(RUN) python $(if $(REPORT),bench/image.py,-m infra.checks.image_smoke $(IMAGES))

stack: setup  ## the API, Redis, MLflow on Postgres, Prometheus and Grafana in containers (PROFILES="aws langfuse"; needs Docker)
	bash infra/stack.sh

stack-smoke: setup  ## the same parts as plain processes, and a question's way through all of them (needs redis-server, postgresql)
	$(RUN) python -m infra.checks.stack_smoke

infra-check: setup  ## check everything below infra/ offline (AREAS="terraform iam": only these)
	$(RUN) python infra/check.py $(AREAS)

infra-names: setup  ## write what is made from infra/names.yaml and the guard policy
	$(RUN) python infra/make_names.py

costs: setup  ## what a month costs in every state, by infra/costs/prices.yaml and usage.yaml
	$(RUN) python infra/costs/costs.py

pause: setup  ## take the cluster down and keep everything else (DRY=1: say what would be done; VOLUMES=discard)
	$(RUN) python -m infra.pause pause $(if $(DRY),--dry-run) $(if $(filter discard,$(VOLUMES)),--discard-volumes)

resume: setup  ## bring the cluster back and deploy what the channels name (DRY=1: say what would be done)
	$(RUN) python -m infra.pause resume $(if $(DRY),--dry-run)

serve: setup  ## serve the release of CHANNEL (default dev) on port 8080
	$(RUN) touchstone serve --channel $(CHANNEL)

ui: setup  ## MLflow's pages on port 5000
	$(RUN) touchstone ui

clean:  ## remove the environment, indexes, runs and reports of this checkout (releases stay)
	rm -rf .venv .touchstone .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache reports/runs reports/sweeps reports/compare reports/gates

.PHONY: help setup demo test quick check versions fix bench docs image-smoke stack stack-smoke infra-check infra-names costs pause resume serve ui clean
