# One environment in .venv; every target makes what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

# Hundreds of tests start a process of its own, which would compile the package anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install test check lint types imports pytest format demo ui docs bench clean browser screenshots test-long test-lowest dlt-check

help:  ## show these targets (what plain `make` does; it installs nothing)
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/\1|\2/p' $(firstword $(MAKEFILE_LIST)) | \
		while IFS='|' read -r name text; do printf '  make %-13s %s\n' "$$name" "$$text"; done

# The demo keeps Dagster's runs in .demo and the data in examples/demo/data; git ignores both.
DEMO := examples/demo
DEMO_INSTALLED := $(VENV)/.demo-installed
DEMO_ENV := DAGSTER_HOME=$(CURDIR)/.demo/dagster_home RUNTIME__DLTHUB_TELEMETRY=false
UI_PORT ?= 3000

$(DEMO_INSTALLED): pyproject.toml constraints.txt
	@echo "Installing into $(VENV) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "pip>=25.1"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e . --group demo
	@touch $@

.demo/dagster_home/dagster.yaml: $(DEMO)/dagster.yaml
	@mkdir -p $(@D)
	@cp $< $@

demo: $(DEMO_INSTALLED) .demo/dagster_home/dagster.yaml  ## load the demo into DuckDB; installs what it needs into .venv
	@$(DEMO_ENV) $(BIN)/loadsmith run '*' $(DEMO)/odp_config
	@echo
	@echo "The data is in $(DEMO)/data/demo.duckdb. Next: \`make ui\`, and open http://localhost:$(UI_PORT)"

ui: $(DEMO_INSTALLED) .demo/dagster_home/dagster.yaml  ## Dagster's page on the demo
	@$(DEMO_ENV) $(BIN)/python -W 'ignore:Function `dev_command` is superseded' -m dagster dev -f $(DEMO)/definitions.py -h localhost -p $(UI_PORT)

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "pip>=25.1"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e . --group test
	touch $@

install: $(INSTALLED)  ## install everything that the tests need into .venv, 2 GB

test: check browser pytest  ## what a change has to pass: check, and the tests

check: lint types imports  ## lint, types and the order of the packages, without tests

lint: $(INSTALLED)  ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(INSTALLED)  ## repair what ruff can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(INSTALLED)  ## mypy
	$(BIN)/mypy

imports: $(INSTALLED)  ## the order of the packages
	$(BIN)/lint-imports

# Chromium for the tests that look at Dagster's page.
browser:
	@tests/browser/install.sh

screenshots: $(INSTALLED) browser  ## the pictures of Dagster's page in docs/images
	@$(BIN)/python docs/screenshots.py

LOWEST := .venv-lowest
test-lowest: $(LOWEST)/.installed  ## a part of the tests with the oldest dlt and Dagster
	$(LOWEST)/bin/python -m pytest -q -p no:cacheprovider tests/assets tests/test_factory.py tests/destinations/test_tried_sources.py

$(LOWEST)/.installed: pyproject.toml constraints.txt constraints-lowest.txt
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check "pip>=25.1"
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-lowest.txt -e . --group lowest
	touch $@

# dbt with dagster-dbt, for examples/dbt. It needs older versions than constraints.txt has of a few
# packages; these and its own are in constraints-dbt.txt.
DBT := .venv-dbt
$(DBT)/.installed: pyproject.toml constraints.txt constraints-dbt.txt
	$(PYTHON) -m venv $(DBT)
	$(DBT)/bin/python -m pip install --quiet --disable-pip-version-check "pip>=25.1"
	awk -F== 'NR == FNR { own[$$1]; print; next } !($$1 in own)' constraints-dbt.txt constraints.txt > $(DBT)/constraints.txt
	$(DBT)/bin/python -m pip install --quiet --disable-pip-version-check -c $(DBT)/constraints.txt -e ".[dbt]"
	touch $@

# What loadsmith relies on in dlt and Dagster, compared with what is installed. `make dlt-check
# DLT=1.32.0` installs that dlt into an environment of its own.
EXAMPLES ?= 500
ifdef DLT
DLT_BIN := .venv-dlt-$(DLT)/bin
dlt-check: $(DLT_BIN)/.installed
else
DLT_BIN := $(BIN)
dlt-check: $(INSTALLED)  ## what we rely on in dlt and Dagster, compared with what is installed
endif
	$(DLT_BIN)/python -m bench.dlt_check --examples $(EXAMPLES)

.venv-dlt-%/bin/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-dlt-$*
	$(@D)/python -m pip install --quiet --disable-pip-version-check "pip>=25.1"
	grep -v '^dlt==' constraints.txt > .venv-dlt-$*/constraints.txt
	$(@D)/python -m pip install --quiet --disable-pip-version-check -c .venv-dlt-$*/constraints.txt -e . --group test "dlt==$*"
	touch $@

# The order of the tests is shuffled from this seed; `make pytest SEED=$$RANDOM` takes another.
SEED ?= 2432114820
# More than cores: many tests wait for the processes that they start.
WORKERS ?= 4
pytest: $(INSTALLED)  ## the tests alone
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --randomly-seed=$(SEED)

# The tests marked `long`, which `make test` leaves out.
test-long: $(INSTALLED)  ## the tests that take minutes
	$(BIN)/python -m pytest -m long
	LOADSMITH_EXAMPLES=100 $(BIN)/python -m pytest tests/engine/test_slices_in_any_order.py

# The site in `site/`, its reference pages written anew from the code.
docs: $(INSTALLED)  ## the site, in site/
	$(BIN)/python docs/generate_reference.py
	$(BIN)/mkdocs build --strict --quiet

clean:  ## remove environments and what was loaded
	rm -rf $(VENV) $(LOWEST) $(DBT) .venv-dlt-* site .demo .bench examples/*/data .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

bench: $(INSTALLED)  ## the measurements of docs/performance.md
	$(BIN)/python -m bench
