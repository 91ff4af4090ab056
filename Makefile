# make run     a bridge and four carts on this machine, learning     (TASK=digits DATA=rows.csv CARTS=8 ROUNDS=3 PORT=9000 PAGES=5001)
# make test    lint, types, import contracts, tests with coverage
# make bench   the benchmarks, each a table with ratios
# make audit   published advisories about the required packages, where a database of them answers
# make pin-images   pin the base images to the digests that a registry has for their tags
# make install PREFIX=/usr/local             install bridge and cart beside earlier versions   (PARTS=bridge or PARTS=cart)
# make use PREFIX=/usr/local VERSION=0.1.0   switch to an installed version, older or newer

TASK ?= shopping
DATA ?=
RESULTS ?= results
CARTS ?= 4
ROUNDS ?= 0
PORT ?= 9000
PAGES ?= 5001
PREFIX ?= /usr/local
PARTS ?= bridge cart
VERSION ?=
RERUNS ?= 0

BIN := .venv/bin
PIP := $(BIN)/pip install -q --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help run test lint bench audit pin-images install use clean

help:
	@sed -n 's/^# make/make/p' Makefile

run: .venv/run.stamp
	@exec $(BIN)/python -m demo --task "$(TASK)" --data "$(DATA)" --results "$(RESULTS)" --carts $(CARTS) --rounds $(ROUNDS) --bridge-port $(PORT) --first-page-port $(PAGES)

test: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --reruns $(RERUNS) --cov --cov-report=term

lint: .venv/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/test.stamp
	@for name in averaging precision messages sealing relay transfer lines slow_receivers hostile_members hostile_peers latency round idle store store_timeout csv_rows watching pages hostile_shoppers footprint large_model dht laboratory drift personal_layers lab_against_carts lab_against_flower learning hostile_learning; do echo; $(BIN)/python benchmarks/$$name.py || exit 1; done

audit:
	@sh .ci/audit

pin-images:
	@sh .ci/pin-images

install:
	@sh deploy/install "$(PREFIX)" $(PARTS)

use:
	@sh deploy/use "$(PREFIX)" "$(VERSION)"

clean:
	rm -rf .venv .audit-venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage

# A stamp is newer than the lists of requirements, so that nothing is installed again until a list changes.
.venv/run.stamp: requirements.txt parent_cart/requirements.txt child_cart/requirements.txt lab/requirements.txt
	@sh .ci/venv
	@echo "Installing requirements (TensorFlow takes a minute)"
	@$(PIP) -r requirements.txt
	@sh .ci/system cart
	@touch $@

.venv/test.stamp: .venv/run.stamp requirements-dev.txt lab/requirements-tensorboard.txt lab/requirements-ray.txt lab/requirements-mlflow.txt
	@sh .ci/system tests
	@$(PIP) -r requirements-dev.txt
	@sh .ci/system mongod
	@touch $@
