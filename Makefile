# All that this project can do on a machine with Python 3.11+ and make. `make demo` and `make test`
# are the two that a newcomer needs.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo play test check properties soak bench screenshots setup format lock clean

demo: setup
	@$(BIN)/python -m demo

play: setup
	@$(BIN)/python -m demo play

# Everything: what needs no Airflow mostly waits, so three at once; then end to end with real browsers
# in two real Airflows at once.
test: setup lint
	@$(BIN)/python -m tests.e2e.machine
	@$(BIN)/python -m pytest -q -n 3 --dist loadfile --cov --cov-report= --ignore tests/e2e
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile --cov --cov-append --cov-fail-under=95 tests/e2e

# The fast part.
check: setup lint
	@$(BIN)/python -m pytest -q tests/unit

# An hour: 20,000 examples for each property, where `make test` takes 200.
properties: setup
	@ENOS_PROPERTIES=thorough $(BIN)/python -m pytest -q tests/properties

# Ten minutes of starts, stops, kills, strangers and faults; every verdict is checked.
soak: setup
	@$(BIN)/python -m tests.soak

# Three quarters of an hour: measure, print the tables and write them into the README. Needs PostgreSQL.
bench: setup
	@$(BIN)/python -m benchmarks

# Renew the pictures that the README shows.
screenshots: setup
	@$(BIN)/python -m tests.e2e.machine
	@ENOS_SCREENSHOTS=1 $(BIN)/python -m pytest -q --no-cov -k test_ui tests/e2e

.PHONY: lint
lint: setup
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy --no-error-summary

format: setup
	@$(BIN)/ruff format --quiet .
	@$(BIN)/ruff check --fix --quiet .

setup: .venv/.ready

# uv is a matter of seconds; where it cannot reach an index (it does not read pip.conf), pip can.
.venv/.ready: requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, PYTHON=... chooses one." if sys.version_info < (3, 11) else 0)'
	@echo "Setting up .venv (about a minute)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode --no-deps -r requirements-dev.txt \
	  || $(BIN)/python -m pip install --quiet --no-deps -r requirements-dev.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable . \
	  || $(BIN)/python -m pip install --quiet --no-deps --editable .
	@touch $@

# Pin the newest versions that fit pyproject.toml.
lock: setup
	@$(BIN)/uv pip compile --quiet --upgrade --universal --no-header --no-annotate --no-emit-index-url \
	  --no-emit-find-links --group dev --extra emulator pyproject.toml -o requirements-dev.txt

clean:
	@rm -rf .venv .coverage .mypy_cache .pytest_cache .ruff_cache dist
