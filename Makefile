# Two commands do everything on a fresh machine with Python 3.11: `make run` and `make test`.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready

.PHONY: run test android arm check clean

TWO := --numprocesses 2 --dist worksteal

run: $(READY)  ## set up, then train, merge, export, quantise, bench and gate the embedded default
	$(BIN)/pocketvec run

test: $(READY)  ## set up, then run the tests in two processes
	$(BIN)/python -m pytest $(TWO)

android: $(READY)  ## set up, fetch Kotlin, arm64 emulation and adb into .tools, and run the tests that need them
	$(BIN)/python -m android_harness.toolchain
	$(BIN)/python -m pytest -m android $(TWO)

arm: $(READY)  ## of these, only what runs on the three emulated ARM cores
	$(BIN)/python -m android_harness.toolchain arm64
	$(BIN)/python -m pytest -m android $(TWO) tests/test_android_arm.py

check: $(READY)  ## lint, formatting, types, import contract
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(READY)

clean:  ## remove the environment and everything that was run
	rm -rf $(VENV) runs .tools
