# Every target sets up what it needs in .venv first; the second time that takes no time.

STUDY ?= studies/mnist.toml
PYTHON ?= $(shell command -v python3.11 || command -v python3)
RUN = .venv/bin/python -m

# Make takes `study=x` for another variable, and would start the default study.
$(foreach name,study check python,$(if $(filter command,$(origin $(name))),$(error $(name)=$($(name)): write the name in capital letters)))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup sweep report export ui dashboard test test-slow test-faults check bench mutants format docs lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "STUDY=studies/x.toml selects a study (default: $(STUDY))"

setup: .venv/stamp ## install the locked dependencies into .venv

sweep: setup ## train what is missing of STUDY, print its table, export its champion
	$(RUN) sweep run $(STUDY)

report: setup ## rebuild the report of STUDY from MLflow; CHECK=1 only says whether it is up to date
	$(RUN) sweep report $(STUDY) $(if $(CHECK),--check)

export: setup ## write the champion of STUDY to mlruns/exports/, and register it
	$(RUN) sweep export $(STUDY)

ui: setup ## browse the runs in MLflow on http://127.0.0.1:5000
	$(RUN) sweep ui

dashboard: setup ## look at the searches in optuna-dashboard on http://127.0.0.1:8080
	$(RUN) sweep dashboard

test: setup ## run the tests
	$(RUN) pytest -n auto

test-slow: setup ## run the tests that take minutes: whole sweeps in cohorts, replays, MLflow's UI in a browser
	$(RUN) pytest -m slow -n auto

test-faults: setup ## kill, starve and damage sweeps at every point; half an hour
	$(RUN) pytest -m faults -n auto --dist worksteal

check: setup ## check format, lint and types; changes nothing
	$(RUN) ruff format --check .
	$(RUN) ruff check .
	$(RUN) mypy

bench: setup tests/bench/.site ## compare with what people use, on an idle machine; hours
	$(RUN) tests.bench.bench
	$(RUN) tests.bench.whole_study
	$(RUN) tests.bench.scaling
	$(RUN) tests.bench.loop_cost
	$(RUN) tests.bench.report_cost

mutants: setup tests/mutants/.site ## change the pure rules in small ways, and see which changes no test notices; an hour
	PYTHONPATH=tests/mutants/.site .venv/bin/python tests/mutants/.site/bin/mutmut run --max-children 2
	$(RUN) tests.mutants.score

format: setup ## format the code and mend what the linter can
	$(RUN) ruff format .
	$(RUN) ruff check --fix .

docs: setup ## fill the generated parts of the READMEs: the keys of a study file, the map of the code
	$(RUN) tests.docs

lock: ## pin the dependencies of pyproject.toml anew, with hashes (needs uv)
	uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet --output-file requirements.lock
	cd tests/mutants && uv pip compile requirements.in -c ../../requirements.lock --no-deps --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet --output-file requirements.lock
	cd tests/bench && uv pip compile requirements.in -c ../../requirements.lock --no-deps --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet --output-file requirements.lock

clean: ## remove .venv and tool caches; mlruns/ stays
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis tests/bench/.site tests/mutants/.site mutants
	find sweep tests -name __pycache__ -prune -exec rm -rf {} +

.venv/stamp: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "sweep needs Python 3.11 or newer, found $$($(PYTHON) --version); pass PYTHON=/path/to/it" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	@touch $@

tests/bench/.site tests/mutants/.site: %/.site: %/requirements.lock
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --upgrade --target $@ --requirement $<
	@touch $@
