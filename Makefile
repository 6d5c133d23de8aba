# Two commands: `make study` and `make test`. Each sets up what it needs in .venv first.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
# uv resolves and installs in a fifth of pip's time; where it cannot reach what pip is set up to reach, pip does it.
define INSTALL
$(PIP) uv
$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable "$(1)" || $(PIP) --editable "$(1)"
endef

.PHONY: study test test-long check calibrate bench bench-quick bench-views format clean

study: $(VENV)/.installed  ## Run the quick study on generated images and print its tables
	$(BIN)/wbc-study run quick

test: $(VENV)/.installed-dev  ## Run every test, two at a time; or some: make test TESTS=tests/models; in another order: make test SHUFFLE=7
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(if $(TESTS),$(TESTS),--numprocesses 2 --dist worksteal) $(if $(SHUFFLE),--shuffle $(SHUFFLE))

test-long: $(VENV)/.installed-dev  ## Ask again, in many repetitions, what the tests ask once: studies killed twenty times
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m long $(TESTS)

check: $(VENV)/.installed-dev  ## Lint, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

calibrate: $(VENV)/.installed-dev  ## Judge simulated studies whose truth is known: false gains, coverage, power
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.benchmarks.calibrate

bench: $(VENV)/.installed-dev  ## Measure speed beside its goals and beside what people would do instead (long; needs the machine to itself)
	$(BIN)/python -m tests.benchmarks.speed

bench-quick: $(VENV)/.installed-dev  ## A reduced one, in less than three minutes
	$(BIN)/python -m tests.benchmarks.speed --quick

bench-views: $(VENV)/.installed-dev  ## Measure tables, report and explorer with 10,000 trials
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.benchmarks.measure_views

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build *.egg-info

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(BIN)/python pyproject.toml constraints.txt
	@echo "Installing into $(VENV) (a few minutes the first time) ..."
	$(call INSTALL,.)
	@touch $@

$(VENV)/.installed-dev: $(BIN)/python pyproject.toml constraints.txt
	@echo "Installing into $(VENV) (a few minutes the first time) ..."
	$(call INSTALL,.[dev])
	@touch $@ $(VENV)/.installed
