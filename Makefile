# `make demo` and `make test` are all a newcomer needs: each sets up .venv by itself.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin
READY := $(VENV)/.ready
DEMO_SECONDS ?= 30
CODE := src tests benchmarks notebooks $(wildcard docs/*.py)
# MNIST and tables are read from this folder where it exists, and downloaded otherwise.
export PUSHFORWARD_DATA ?= $(wildcard ../shared/data)

.PHONY: demo play test test-processes test-studies test-browser lint notebooks bench table-peers test-gpu bench-gpu clean help

help:
	@echo "make demo   fit a flow to two moons; model, samples and report go to pushforward-out/"
	@echo "make play   open the page that trains a flow on points of the plane and shows every layer"
	@echo "make test   run the tests"
	@echo "make test-processes  tests of shared runs, of what is killed, of servers and workers"
	@echo "make test-studies  run every study in its short form, and look at what it wrote"
	@echo "make test-browser  try that page in a real browser (Chromium and its driver)"
	@echo "make lint   style, types, import order, doctests"
	@echo "make notebooks  exercises, and solved notebooks, executed (QUICK=1: with small sizes)"
	@echo "make bench  speed against zuko, nflows, normflows, FrEIA, FlowJAX and torchdiffeq"
	@echo "make table-peers  the environment in which pushforward study tables runs other libraries' models"
	@echo "make test-gpu   the tests that need a GPU, and nothing else (torch with CUDA in the environment)"
	@echo "make bench-gpu  speed on a GPU"
	@echo "make clean  delete the environments and what the demo wrote"

demo: $(READY)
	$(RUN)/pushforward fit two-moons --max-seconds $(DEMO_SECONDS) --out pushforward-out --overwrite

play: $(READY)
	$(RUN)/pushforward play

# Two at once on two cores: more threads in each, and in each process that tests start, would only wait for one another.
test: export OMP_NUM_THREADS := 1
test: export POLARS_MAX_THREADS := 1
test: $(READY)
	$(RUN)/python -m pytest -q -n 2 --dist worksteal

# Tests of several processes: shared runs, kills, servers, workers.
test-processes: export OMP_NUM_THREADS := 1
test-processes: export POLARS_MAX_THREADS := 1
test-processes: $(READY)
	$(RUN)/python -m pytest -q -n 2 --dist worksteal tests/processes

test-studies: $(READY)
	$(RUN)/python -m pytest -q -n 2 tests/studies

test-browser: $(READY) node_modules
	@command -v chromedriver >/dev/null || echo "Chromium and its driver are missing (Debian: apt install chromium chromium-driver): not run"
	$(RUN)/python -m pytest -q tests/browser

# TypeScript checks the types of the page's code, axe-core its accessibility; the page itself needs neither.
node_modules: package.json
	@if command -v npm >/dev/null; then npm install --silent --no-package-lock --no-audit --no-fund; else echo "npm is missing: the page's types and accessibility are not checked"; fi
	@mkdir -p $@; touch $@

lint: $(READY) node_modules
	$(RUN)/ruff check $(CODE)
	$(RUN)/ruff format --check $(CODE)
	$(RUN)/mypy
	$(RUN)/lint-imports
	@test ! -x node_modules/.bin/tsc || node_modules/.bin/tsc -p jsconfig.json
	$(RUN)/python -m pytest -q --doctest-modules src/pushforward

notebooks: $(READY)
	$(RUN)/python notebooks/build.py $(if $(QUICK),--quick)

bench: $(READY) .venv-peers/.ready
	.venv-peers/bin/python benchmarks/run.py --out bench.json
	.venv-peers/bin/python benchmarks/race.py --out race.json

table-peers: .venv-table-peers/.ready

# A torch that knows the GPU is the machine's own affair: these two use the Python that is named, as it is.
test-gpu:
	PYTHONPATH=src:tests $(PYTHON) -m pytest -q tests/gpu

bench-gpu:
	PYTHONPATH=src $(PYTHON) benchmarks/gpu.py --out bench-gpu.json

$(READY): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "python3 is missing: install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; $$($(PYTHON) --version) is $(PYTHON). Name another: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "Python's venv module is missing: install it (Debian, Ubuntu: apt install python3-venv)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(RUN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@

.venv-peers/.ready: benchmarks/requirements.txt pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/pip install --quiet --disable-pip-version-check -c constraints.txt -r benchmarks/requirements.txt -e .
	@touch $@

.venv-table-peers/.ready: benchmarks/requirements-tables.txt pyproject.toml
	$(PYTHON) -m venv .venv-table-peers
	.venv-table-peers/bin/pip install --quiet --disable-pip-version-check -r benchmarks/requirements-tables.txt -e ".[studies]"
	@touch $@

clean:
	rm -rf .venv .venv-peers .venv-table-peers pushforward-out
