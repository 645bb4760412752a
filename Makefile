# `make help` lists what there is. All of it needs only Rust, Python 3.11 or newer, and make.

# The first Python that is new enough; `make PYTHON=/path/to/python3 ...` takes another.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)

VENV := .venv
BIN := $(VENV)/bin
TOOLS := $(VENV)/.tools-stamp
BUILD := $(VENV)/.build-stamp
DOCS := $(VENV)/.docs-stamp

RUST_SOURCES := Cargo.toml Cargo.lock $(shell find rust -name '*.rs' -o -name Cargo.toml)
PYTHON_SOURCES := python tests examples
CRATES := --workspace --exclude pssmr-python

# Set on an automatic run: no colours, no prompts.
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-rust test-python test-again bench mutants fuzz soak lint format reference docs wheel wheels mixed clean build

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: $(BUILD) ## make the virtual environment and build the extension module

demo: $(BUILD) ## run a bank on four replicas, kill the leader, check that nothing was lost
	$(BIN)/python examples/bank_demo.py

test: test-rust test-python ## run all tests

test-rust:
	cargo test --release $(CRATES)

test-python: $(BUILD)
	$(BIN)/python -m pytest

test-again: $(BUILD)
	$(BIN)/python -m pytest --last-failed --last-failed-no-failures none

bench: $(BUILD) ## measure the schedulers, the ordering core, and whole clusters
	cargo bench
	$(BIN)/pssmr bench --service python
	$(BIN)/pssmr bench --service native
	$(BIN)/pssmr bench --service python --in-flight 1
	$(BIN)/pssmr bench --service native --replicas 3 --fault-model cft

mutants: $(TOOLS) ## make one fault at a time in the protocol, and see that some test notices; takes an hour
	$(BIN)/python tests/mutants/run.py

# Each target so long; the inputs found go into target/fuzz/corpus, and one that breaks a promise into target/fuzz/found.
FUZZ_SECONDS ?= 300
FUZZ_TARGETS ?= frames peer_messages client_messages records log snapshots choice byzantine_peer
FUZZ := CARGO_TARGET_DIR=$(CURDIR)/target/fuzz cargo +nightly fuzz

fuzz: ## feed bytes to whatever reads what others send, FUZZ_SECONDS for each target; needs a nightly Rust and cargo-fuzz
	@$(FUZZ) --version >/dev/null 2>&1 || { echo 'make fuzz needs a nightly Rust and cargo-fuzz: rustup toolchain install nightly; cargo install cargo-fuzz' >&2; exit 1; }
	$(FUZZ) build --fuzz-dir rust/fuzz/targets --sanitizer none
	mkdir -p target/fuzz/found
	@for target in $(FUZZ_TARGETS); do \
		mkdir -p target/fuzz/corpus/$$target; \
		$(FUZZ) run --fuzz-dir rust/fuzz/targets --sanitizer none $$target \
			target/fuzz/corpus/$$target rust/fuzz/corpus/$$target -- -max_len=800 -max_total_time=$(FUZZ_SECONDS) \
			-rss_limit_mb=1024 -artifact_prefix=target/fuzz/found/$$target- -verbosity=0 -print_final_stats=1 || exit 1; \
	done

# How much of everything: SOAK=10 is ten times as much.
SOAK ?= 1
SOAK_FROM ?= 1000000
SIMULATION := target/release/pssmr-simulation

soak: $(BUILD) ## hunt for bugs for three hours: other seeds than the tests', larger models, storms, fuzzing; docs/testing.md says what was run
	cargo build --release -p pssmr-simulation
	$(SIMULATION) search --profile all --from $(SOAK_FROM) --seeds $$((20000 * $(SOAK)))
	$(SIMULATION) search --profile twins4 --from $(SOAK_FROM) --seeds $$((1000000 * $(SOAK)))
	$(SIMULATION) search --profile twins7 --from $(SOAK_FROM) --seeds $$((200000 * $(SOAK)))
	$(SIMULATION) check-model all --states $$((5000000 * $(SOAK)))
	$(SIMULATION) check-model all --states $$((300000 * $(SOAK))) --walks $(SOAK_FROM)
	$(SIMULATION) explore --from $(SOAK_FROM) --runs $$((200000 * $(SOAK)))
	STORM_SEED=$(SOAK_FROM) STORM_ROUNDS=$$((200 * $(SOAK))) $(BIN)/python -m pytest \
		tests/faults/test_kill_storm.py tests/faults/test_partitions.py -o log_cli=true --log-cli-level=INFO
	$(MAKE) fuzz FUZZ_SECONDS=$$((300 * $(SOAK)))

lint: $(BUILD) ## check formats, lints and types, and change nothing
	cargo fmt --all --check
	cargo clippy --release --workspace --all-targets -- -D warnings
	$(BIN)/ruff check $(PYTHON_SOURCES)
	$(BIN)/ruff format --check $(PYTHON_SOURCES)
	$(BIN)/mypy
	MYPYPATH=python $(BIN)/stubtest pssmr._core

format: $(BUILD) ## format Rust and Python, and mend what can be mended
	cargo fmt --all
	$(BIN)/ruff check --fix $(PYTHON_SOURCES)
	$(BIN)/ruff format $(PYTHON_SOURCES)

reference: $(BUILD) ## write the reference of the configuration anew, from the code
	$(BIN)/python -m pssmr.configuration_reference > docs/configuration.md

docs: $(DOCS) ## build the documentation into site/ and target/doc; a warning is an error
	$(BIN)/mkdocs build --quiet
	RUSTDOCFLAGS='-D warnings' cargo doc --no-deps --workspace --exclude pssmr-python --release
	@echo 'Open site/index.html and target/doc/pssmr/index.html.'

wheel: $(TOOLS) ## build the wheel and the source distribution into dist/, and try the wheel where there is no Rust
	rm -rf dist
	$(BIN)/maturin build --profile dist --out dist
	$(BIN)/maturin sdist --out dist
	$(BIN)/python tests/packaging/try_wheel.py dist/pssmr-*.whl
	@ls -l dist

# Each its own: there is no stable ABI. Interpreters that are not there are left out, and so are stand-ins for some that are not installed.
PYTHONS ?= $(foreach python,python3.11 python3.12 python3.13 python3.13t python3.14 python3.14t,$(shell $(python) -c 'import sys; print(sys.executable)' 2>/dev/null))

wheels: $(TOOLS) ## build a wheel for each Python of PYTHONS="python3.11 python3.13t ...", and try each where there is no Rust
	@test -n '$(PYTHONS)' || { echo 'no Python was found: say which with make wheels PYTHONS="..."' >&2; exit 1; }
	rm -rf dist
	$(BIN)/maturin build --profile dist --out dist $(foreach python,$(PYTHONS),--interpreter $(python))
	$(BIN)/maturin sdist --out dist
	@for python in $(PYTHONS); do $$python tests/packaging/try_wheel.py dist/*.whl || exit 1; done
	@ls -l dist

# The version that the sources are tried against: a tag or a commit. It is built in a folder of its own, from files that
# are new: cargo takes crates of two workspaces for the same ones, and looks at nothing but the time of their files.
OLD ?= HEAD~1

mixed: $(TOOLS) ## replace the replicas of a cluster by those of version OLD=<tag>, and back, one by one under load
	rm -rf target/mixed && mkdir -p target/mixed/sources
	git archive $(OLD) | tar -x -m -C target/mixed/sources
	cd target/mixed/sources && CARGO_TARGET_DIR=$(CURDIR)/target/old $(CURDIR)/$(BIN)/maturin build --release --out $(CURDIR)/target/mixed/old
	$(BIN)/maturin build --release --out target/mixed/new
	$(BIN)/python tests/packaging/mix_versions.py target/mixed/old/*.whl target/mixed/new/*.whl

clean: ## remove everything that was built
	rm -rf $(VENV) target dist site python/pssmr/_core*.so .pytest_cache .mypy_cache .ruff_cache
	find python tests examples -name __pycache__ -type d -exec rm -rf {} +

# The tools, before anything that is ours: so a change of ours never installs them again.
$(TOOLS): pyproject.toml
	@test -n '$(PYTHON)' || { echo 'pssmr needs Python 3.11 or newer: none was found. Say which with make PYTHON=...' >&2; exit 1; }
	@command -v cargo >/dev/null || { echo 'pssmr needs Rust: there is no cargo. See https://rustup.rs' >&2; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv --clear $(VENV) || { echo '$(PYTHON) can make no virtual environment: on Debian and Ubuntu, install python3-venv' >&2; exit 1; }
	$(BIN)/python -m pip install --quiet 'maturin>=1.9.4,<2'
	$(BIN)/maturin develop --release --extras dev
	touch $@

$(DOCS): pyproject.toml $(TOOLS)
	$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["docs"], sep="\n")' \
		| $(BIN)/python -m pip install --quiet --requirement /dev/stdin
	touch $@

# Built in place, with the same profile and target directory as the tests: the crates are compiled once.
$(BUILD): $(TOOLS) $(RUST_SOURCES)
	$(BIN)/maturin develop --release --skip-install
	touch $@
