# Every target sets up what it needs in .venv: only Python >= 3.11, make and a package index are assumed.
PYTHON ?= $(shell for p in python3.14 python3.13 python3.12 python3.11 python3 python; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo $$p; exit; }; done)
BIN := .venv/bin
INSTALLED := .venv/.installed
SOURCES := api worker shared deploy tests
# Tests wait more than they compute; each worker has servers of its own. 0 runs all in one process.
TEST_WORKERS ?= 2

.PHONY: help up test check bench soak format install lock

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: install ## run the whole service here: PostgreSQL, Valkey, SeaweedFS, API and worker
	@exec $(BIN)/attachments up

test: install ## run all tests against real PostgreSQL, Valkey, SeaweedFS and workers
	$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist worksteal $(PYTEST_ARGS)

check: install ## lint and type-check code, image and compose file
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/hadolint deploy/Dockerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec deploy/compose.yaml

bench: install ## measure speed and CPU as ratios against bare equivalents
	@# what is compared with; pyvips has no wheel, and is built of Python alone
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --no-build-isolation -r deploy/requirements/bench.lock
	$(BIN)/python -m tests.benchmarks $(BENCH_ARGS)

soak: install ## upload thousands of files while everything is killed, and show that nothing is lost
	$(BIN)/python -m tests.soak $(SOAK_ARGS)
	$(BIN)/python -m pytest -m soak

format: install ## format the code
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

install: $(INSTALLED) ## set up .venv from the hash-pinned lock

$(INSTALLED): deploy/requirements/dev.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer with venv and ensurepip is needed; name it with PYTHON=..." >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --only-binary :all: -r deploy/requirements/dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

lock: ## resolve the locks again from pyproject.toml (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate pyproject.toml -o deploy/requirements/runtime.lock
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate -c deploy/requirements/runtime.lock --extra dev --extra embedded --extra heic pyproject.toml -o deploy/requirements/dev.lock
	echo "pyvips[binary]>=3.2" | uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate -c deploy/requirements/dev.lock - -o deploy/requirements/bench.lock
