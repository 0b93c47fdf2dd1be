# Two commands do all the set-up: `make repro` and `make test`.
SHELL := /bin/bash
PYTHON ?= python3
PYTEST := OMP_NUM_THREADS=1 pytest -n 4 --dist loadfile --no-loadscope-reorder
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# Each module is compiled once, not anew by each of a thousand processes.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: repro lint check test test-slow test-all env gpu gpu-wheels clean

repro: env  ## the environment if missing, then the whole pipeline on the embedded data
	infocl check
	dvc repro
	infocl summary

lint: env  ## lint and types
	ruff check
	ruff format --check
	mypy --num-workers 2

check: lint  ## lint, types, and the tests that take a moment
	OMP_NUM_THREADS=1 pytest -n 2 -m "not slow and not medium"

test: lint  ## lint, types, and all tests but the slow ones of whole processes
	$(PYTEST) -m "not slow"

test-slow: env  ## the slow tests alone
	$(PYTEST) -m slow

test-all: lint  ## lint, types, and every test
	$(PYTEST)

env: .venv/.complete

.venv/.complete: requirements.lock pyproject.toml
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "infocl: Python 3.11 or newer is needed; name one with make PYTHON=python3.11" >&2; exit 2; }
	"$(PYTHON)" -m venv .venv
	.venv/bin/python -m pip install --quiet --no-cache-dir --no-compile --disable-pip-version-check -r requirements.lock
	@# By all cores, which pip does by one; a package's files for newer Pythons fail here as they do there.
	.venv/bin/python -m compileall -qq -j 0 .venv/lib || true
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

gpu:  ## CUDA tests and benchmarks by this machine's own Python and torch -> benchmarks/results/cuda.md (DRY=1: tiny, on the CPU)
	@"$(PYTHON)" -m benchmarks.bare run $(if $(DRY),--dry-run)

gpu-wheels:  ## what a machine without network needs beside torch for `make gpu` -> wheels/ (GPU_PYTHON: version of its Python)
	"$(PYTHON)" -m benchmarks.bare wheels --python $(or $(GPU_PYTHON),3.12)

clean:  ## forget the environment; results stay
	rm -rf .venv
