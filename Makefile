PY ?= python3
PYTHONS ?= python3.11 python3.12 python3.13
SETS ?= lowest newest hydra
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help setup run test lint docs tables bench rivals faults compat reproduce wheel lock

help:  ## Show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

setup: $(VENV)/.done  ## Install everything into .venv (Python >= 3.11)

$(VENV)/.done: pyproject.toml requirements.lock
	$(PY) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "hapens_bench needs Python 3.11 or newer; try: make setup PY=python3.12")'
	$(PY) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet "$$(grep -m1 '^torch==' requirements.lock)"
	$(BIN)/pip install --quiet --constraint requirements.lock --editable '.[dev]'
	@touch $@

run: setup  ## Compare three samplers on a generated data set (under two minutes)
	$(BIN)/hapens train -m sampler=rns,dns,ahns 'seed=range(2)'

test: setup  ## Run the tests (set HAPENS_MIRROR for those that need real data)
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --dist worksteal --durations 10

lint: setup  ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

docs: setup  ## Build the documentation site into site/ (no network)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

faults: setup  ## Kill and corrupt runs, and see that nothing is lost (minutes)
	$(BIN)/python -m pytest -m faults

compat:  ## Run a short part of the tests with Python 3.11-3.13, oldest and newest dependencies, and Hydra's pre-release (PYTHONS, SETS: a part)
	for py in $(PYTHONS); do for set in $(SETS); do bash scripts/compat.sh $$py $$set || exit 1; done; done

tables: setup  ## Remake every table and figure of results/ from the archives (no training)
	$(BIN)/python scripts/tables.py
	$(BIN)/python scripts/docs/reality_page.py

bench: setup  ## Measure the engine against plain ways of doing the same (BENCH="--only pool" for a part; minutes)
	$(BIN)/python scripts/bench/bench.py $(BENCH)

rivals: .venv-recbole .venv-implicit .venv-lightfm  ## Install RecBole, implicit and LightFM apart, for scripts/bench to measure them too

.venv-recbole:
	$(PY) -m venv $@
	$@/bin/pip install --quiet "$$(grep -m1 '^torch==' requirements.lock)"
	$@/bin/pip install --quiet --no-deps recbole==1.2.1 thop
	$@/bin/pip install --quiet numpy pandas scipy scikit-learn pyyaml tqdm colorlog colorama tabulate tensorboard texttable plotly psutil

.venv-implicit:
	$(PY) -m venv $@
	$@/bin/pip install --quiet implicit==0.7.3

.venv-lightfm:
	$(PY) -m venv $@
	$@/bin/pip install --quiet 'pip<24' 'setuptools<66' wheel cython numpy scipy requests scikit-learn
	$@/bin/pip install --quiet --no-use-pep517 --no-build-isolation lightfm==1.17

reproduce: setup  ## Train and print the AHNS table, as far as this suite has its samplers (hours on a CPU)
	PATH="$(CURDIR)/$(BIN):$$PATH" bash scripts/reproduce/ahns_table2.sh

wheel: setup  ## Build the wheel and try it in an empty environment outside the checkout
	$(BIN)/python -m build --wheel --quiet
	bash scripts/try_wheel.sh dist/*.whl

lock: setup  ## Write down the versions that are installed now
	$(BIN)/pip freeze --exclude-editable | sed 's/+cpu$$//' > requirements.lock
