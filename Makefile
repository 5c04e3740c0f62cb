# Every target sets up what it needs in .venv: only Python >= 3.11, make and a package index are assumed.
NAMES := python3.14 python3.13 python3.12 python3.11 python3 python
PYTHON ?= $(shell for p in $(NAMES); do $$p deploy/check_python.py >/dev/null 2>&1 && { echo $$p; exit; }; done)
BIN := .venv/bin
LOCKS := deploy/requirements
SOURCES := api worker shared deploy tests
# Tests wait more than they compute, so two cores have work for six processes. Each process has
# servers of its own and needs about 1 GB of memory. 0 runs all tests in one process.
TEST_WORKERS ?= 6
# Unit tests only compute: one process for each core.
UNIT_WORKERS ?= logical
# Stamps: what running needs is installed, what development needs on top of it, an extra.
RUNNING := .venv/.running
DEVELOPING := .venv/.developing
comma := ,
CHOSEN := $(subst $(comma), ,$(EXTRAS))
OPTIONAL := heic jxl otel video
OPTIONAL_STAMPS := $(addprefix .venv/.,$(OPTIONAL))
EXTRA_STAMPS := $(patsubst .venv/.dev,$(DEVELOPING),$(addprefix .venv/.,$(CHOSEN)))

# Without bytecode each of some thousand processes would compile all modules again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help up test unit cover check lint floor bench soak format install lock anew

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: $(RUNNING) $(EXTRA_STAMPS) ## run the whole service here: PostgreSQL, Valkey, SeaweedFS, API and worker
	@exec $(BIN)/python -P -m deploy up

test: $(DEVELOPING) ## run all tests against real PostgreSQL, Valkey, SeaweedFS and workers
	$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadfile $(PYTEST_ARGS)

unit: $(DEVELOPING) ## run the unit tests that need no servers and start no processes, in seconds
	$(BIN)/python -m pytest -n $(UNIT_WORKERS) -m "not slow and not soak" --hypothesis-profile quick tests/unit $(PYTEST_ARGS)

cover: $(DEVELOPING) ## run the unit tests and show what they cover of the code, by file
	$(BIN)/python -m pytest -q -n $(UNIT_WORKERS) -m "not slow and not soak" tests/unit --cov $(PYTEST_ARGS)

check: lint floor ## what CI runs before the tests: lint, and the floor of coverage

lint: $(DEVELOPING) ## lint and type-check code, check imports between packages, image and compose file
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/python -m mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/hadolint deploy/Dockerfile
	$(BIN)/python -m check_jsonschema --builtin-schema vendor.compose-spec deploy/compose.yaml

floor: $(DEVELOPING) ## fail if the unit tests cover less of the code than before
	$(BIN)/python -m pytest -q -n $(UNIT_WORKERS) -m "not slow and not soak" tests/unit --cov --cov-report=
	@echo "covered by unit tests, in %:" && $(BIN)/python -m coverage report --format=total

bench: $(DEVELOPING) ## measure speed and CPU as ratios against bare equivalents
	@# what is compared with; pyvips has no wheel, and is built of Python alone
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --no-build-isolation -r $(LOCKS)/bench.lock
	$(BIN)/python -m tests.benchmarks $(BENCH_ARGS)

soak: $(DEVELOPING) ## upload thousands of files while everything is killed, and show that nothing is lost
	$(BIN)/python -m tests.soak $(SOAK_ARGS)
	$(BIN)/python -m pytest -m soak

format: $(DEVELOPING) ## format the code
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

install: $(RUNNING) $(EXTRA_STAMPS) ## set up .venv from the hash-pinned locks; EXTRAS=heic, jxl or video adds the decoder of HEIC, JPEG XL or films, EXTRAS=otel traces, EXTRAS=dev what tests need
	@:

$(RUNNING): $(LOCKS)/up.lock pyproject.toml deploy/install.py
	@$(BIN)/python deploy/install.py $<
	@touch $@

# dev.lock has all packages of up.lock and of the extras' locks.
$(DEVELOPING): $(LOCKS)/dev.lock pyproject.toml deploy/install.py
	@$(BIN)/python deploy/install.py $<
	@touch $(RUNNING) $(OPTIONAL_STAMPS) $@

$(OPTIONAL_STAMPS): .venv/.%: $(LOCKS)/%.lock | $(RUNNING)
	@$(BIN)/python deploy/install.py $<
	@touch $@

ifneq ($(filter-out $(OPTIONAL) dev,$(CHOSEN)),)
$(error EXTRAS=$(EXTRAS): there are $(OPTIONAL) and dev)
endif

# The Python of .venv may be gone, broken or too old, and PYTHON= may ask for another one.
FOUND := $(shell $(BIN)/python deploy/check_python.py .venv 2>/dev/null)
ifeq ($(origin PYTHON),command line)
ASKED := $(shell "$(PYTHON)" deploy/check_python.py 2>/dev/null || echo none)
else
ASKED := $(FOUND)
endif
ifeq ($(FOUND),)
STALE := yes
else ifneq ($(FOUND),$(ASKED))
STALE := yes
endif
ifdef STALE
$(RUNNING) $(DEVELOPING) $(OPTIONAL_STAMPS): anew
endif

NO_PYTHON = CPython 3.11 or newer with venv and ensurepip is needed, and none of $(NAMES) is one: name it with PYTHON=...
NOT_RUN = PYTHON=$(PYTHON) cannot be run: name CPython 3.11 or newer
fault_of = $(shell "$(1)" deploy/check_python.py 2>&1 >/dev/null | grep "^Python " || "$(1)" deploy/check_python.py >/dev/null 2>&1 || echo "$(NOT_RUN)")

anew:
	$(eval chosen := $(PYTHON))
	$(if $(chosen),,$(error $(NO_PYTHON)))
	$(eval fault := $(call fault_of,$(chosen)))
	$(if $(fault),$(error $(fault)))
	@if test -e .venv; then echo ".venv is of an unsuitable or another Python: it is made anew"; fi
	@rm -rf .venv
	@echo "making .venv with $(chosen)"
	@"$(chosen)" -m venv .venv || { rm -rf .venv; exit 1; }

lock: ## resolve the locks again from pyproject.toml (needs uv)
	$(COMPILE) pyproject.toml -o $(LOCKS)/runtime.lock
	$(COMPILE) -c $(LOCKS)/runtime.lock --extra embedded pyproject.toml -o $(LOCKS)/up.lock
	$(COMPILE) -c $(LOCKS)/up.lock --extra dev --extra embedded $(addprefix --extra ,$(OPTIONAL)) pyproject.toml -o $(LOCKS)/dev.lock
	echo "pillow-heif" | $(COMPILE) -c $(LOCKS)/dev.lock - -o $(LOCKS)/heic.lock
	echo "imagecodecs" | $(COMPILE) -c $(LOCKS)/dev.lock - -o $(LOCKS)/jxl.lock
	echo "av" | $(COMPILE) -c $(LOCKS)/dev.lock - -o $(LOCKS)/video.lock
	printf "%s\n" opentelemetry-exporter-otlp-proto-http opentelemetry-sdk requests | $(COMPILE) -c $(LOCKS)/dev.lock - -o $(LOCKS)/otel.lock
	printf "%s\n" "pyvips[binary]>=3.2" $(PEER) | $(COMPILE) -c $(LOCKS)/dev.lock - -o $(LOCKS)/bench.lock
# The peer in Python needs these in addition to the packages of the service.
PEER := boto3 "fastapi>=0.120" httptools "psycopg[binary]>=3.2" "uvicorn>=0.38"
COMPILE := uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate
