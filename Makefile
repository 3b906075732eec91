# Everything a person types here. A fresh clone needs Python 3.11 or newer and make; .venv is made from nothing.

VENV := .venv
BIN := $(VENV)/bin
# The package alone, and with what tests and linters need. Installed anew only when pyproject.toml changes: the install is editable.
BASE := $(VENV)/.base-installed
DEV := $(VENV)/.dev-installed
PYTHONS := python3 python3.14 python3.13 python3.12 python3.11 python
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))

.PHONY: help demo run test test-faults test-clients fuzz lint format bench bench-quick clean
.DEFAULT_GOAL := help

help:
	@echo "make demo         watch the whole path work, without any account (ARGS=--keep leaves it running)"
	@echo "make run          the daemon and the proxy in the foreground, on your own ~/.ccs"
	@echo "make test         every test but the long fault-injection runs and the real clients (ARGS=... for pytest)"
	@echo "make test-faults  the long ones, and all that measures what is promised"
	@echo "make test-clients the proxy with real programs and SDKs, installed into .clients (needs Node.js)"
	@echo "make fuzz         ten minutes of any bytes for whatever reads foreign ones (ARGS=MINUTES; not on Windows)"
	@echo "make lint         ruff and mypy"
	@echo "make format       let ruff format"
	@echo "make bench        the benchmarks, ten minutes (ARGS=... for names of suites; BENCH_PEERS=litellm for LiteLLM too)"
	@echo "make bench-quick  the same in one minute, less exact"
	@echo "make clean        remove .venv, .clients, .bench and caches"

demo: $(BASE)
	@$(BIN)/ccs-broker demo $(ARGS)

run: $(BASE)
	@$(BIN)/ccs-broker up $(ARGS)

test: $(DEV)
	$(BIN)/python -m pytest -q -n auto --dist worksteal -m "not faults and not clients" $(ARGS)

test-faults: $(DEV)
	$(BIN)/python -m pytest -q -m "faults or figures" $(ARGS)

test-clients: $(DEV)
	$(BIN)/python -m tests.clients $(ARGS)

fuzz: $(DEV)
	@$(BIN)/python -c 'import atheris' 2>/dev/null || $(BIN)/python -m pip install -q --disable-pip-version-check 'atheris>=3,<4'
	$(BIN)/python -m tests.fuzz $(ARGS)

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(DEV)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(DEV)
	BENCH_PEERS=$(BENCH_PEERS) $(BIN)/python -m benchmarks.prepare
	BENCH_PEERS=$(BENCH_PEERS) $(BIN)/python -m benchmarks.run $(ARGS)

bench-quick: $(DEV)
	BENCH_PEERS=$(BENCH_PEERS) $(BIN)/python -m benchmarks.prepare
	BENCH_PEERS=$(BENCH_PEERS) $(BIN)/python -m benchmarks.run --quick $(ARGS)

clean:
	rm -rf $(VENV) .clients .bench .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage

$(BASE): pyproject.toml | $(BIN)/pip
	@echo "Installing into $(VENV) ..."
	@$(BIN)/python -m pip install -q --disable-pip-version-check -e .
	@touch $@

$(DEV): pyproject.toml | $(BIN)/pip
	@echo "Installing into $(VENV), with what tests and linters need ..."
	@$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[test,lint]'
	@touch $@ $(BASE)

# Whether `python3 -m venv` works is found out by running it: Debian and Ubuntu ship a python3 whose venv stops half-way, as ensurepip is in a package of
# its own. What it leaves behind is removed, so that the next try starts from nothing.
$(BIN)/pip:
	@for python in $(PYTHONS); do \
	  if command -v $$python >/dev/null 2>&1 && $$python -c '$(NEW_ENOUGH)' 2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo "ccs-broker needs Python 3.11 or newer; none of these is: $(PYTHONS)" >&2; exit 1; \
	fi; \
	said=$$($$found -m venv $(VENV) 2>&1) && exit 0; \
	rm -rf $(VENV); \
	if $$found -c 'import ensurepip, venv' 2>/dev/null; then \
	  echo "$$found -m venv failed:" >&2; echo "$$said" >&2; \
	else \
	  package=$$($$found -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'); \
	  echo "$$found has no usable venv module. Install it: apt install python3-venv (or $$package), then run make again." >&2; \
	fi; \
	exit 1
