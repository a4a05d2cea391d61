# The project's verbs. Every target puts in place what it needs, once; `make help` says what there is.

# The distribution's own where it is new enough: it is patched with the rest of the host, any user may run it, and it is
# built for speed.
ifndef PYTHON
PYTHON := $(shell /usr/bin/python3 -c "import sys; sys.exit(sys.version_info < (3, 11))" 2>/dev/null && echo /usr/bin/python3 || echo python3)
endif
STATE ?= /var/lib/portway
PREFIX ?= /opt/portway
DESTDIR ?=
ARGS ?=
JOBS ?= 2

PARALLEL = -n $(JOBS) --dist worksteal

export PYTHON

# The path of the checkout may hold blanks, so everything below is named relative to it.
BIN := .venv/bin

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

.PHONY: help run demo test lint bench docs fuzz install uninstall clean

help: ## say what each target does
	@echo "make TARGET, where TARGET is one of:"
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1|\2/p' Makefile | awk -F '|' '{ printf "%-12s %s\n", $$1, $$2 }'

run: root .venv/.runtime ## set up a first gateway under STATE=/var/lib/portway and run it in the foreground
	@tools/system-packages run
	@exec $(BIN)/portway quickstart --state "$(STATE)" $(ARGS)

demo: root .venv/.dev ## show a stock client connecting, reaching a target and being refused, in network namespaces
	@tools/system-packages test
	@$(BIN)/python -m tests.demo $(ARGS)

test: .venv/.dev ## run unit, property, fuzz and interop tests, with both planes (ARGS="-k name" for some, JOBS=0 for one at a time)
	@tools/system-packages build && tools/system-packages test || [ "$$(id -u)" -ne 0 ]
	@$(BIN)/python -m pytest -q $(PARALLEL) $(ARGS)
	@$(if $(ARGS),:,echo "Once more with the Python data plane …" && PORTWAY_TEST_PLANE=python $(BIN)/python -m pytest -q $(PARALLEL) tests/interop)

lint: .venv/.dev ## check style, formatting, types and who imports whom
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

bench: root .venv/.dev ## measure Portway beside OpenVPN's server (ARGS="--quick", "--list" says what there is)
	@tools/system-packages build && tools/system-packages test
	@$(BIN)/python -m tests.bench $(ARGS)

docs: .venv/.dev ## bring the generated parts of the documents up to date
	@$(BIN)/python -m tests.documents

fuzz: .venv/.dev ## search for bad input for longer than `make test` does (ARGS="-k name" for some)
	@$(BIN)/python -m pytest -q --hypothesis-profile=fuzz tests/fuzz $(ARGS)

install: ## install as a systemd service (PREFIX=/opt/portway; files that exist in /etc/portway stay as they are)
	@tools/system-packages venv && tools/system-packages run
	@tools/install "$(DESTDIR)" "$(PREFIX)"

uninstall: ## remove the service; PURGE=1 removes /etc/portway and /var/lib/portway as well
	@tools/uninstall "$(DESTDIR)" "$(PREFIX)" "$(PURGE)"

clean: ## remove everything that these targets have made in the checkout
	@rm -rf .venv build dist ./*.egg-info bench-results .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	@rm -f tunnel/nativeplane/*.so
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: root
root:
	@[ "$$(id -u)" -eq 0 ] || { echo "This sets up networks and opens port 443, so it has to run as root." >&2; exit 1; }

# A stamp is made anew when what it is made of changes. pip knows `--group` since 25.1. What cannot be compiled now must
# not be there from an earlier time.
.venv/.runtime: pyproject.toml setup.py $(wildcard tunnel/nativeplane/*/*.[ch])
	@tools/system-packages venv
	@tools/system-packages build || true
	@echo "Making the virtual environment …"
	@"$(PYTHON)" -m venv .venv
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --upgrade "pip>=25.1"
	@rm -f tunnel/nativeplane/*.so
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --editable .
	@tools/say-plane $(BIN)/python
	@touch $@

.venv/.dev: .venv/.runtime
	@echo "Installing the development tools …"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --group dev
	@touch $@
