PYTHON ?= python3
BIN := .venv/bin

# Tests start hundreds of processes, each of which would compile its libraries where nobody may keep what is compiled.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: install dev links demo test test-slow test-all lint bench clean

install: .venv/installed-user

dev: .venv/installed-dev links

# Type checkers do not see through an editable install: they find `logitpipe` in this tree of links, new files included.
links:
	mkdir -p .links/logitpipe
	cd .links/logitpipe && ln -sfn ../../pipeline/* ../../stages ../../cache .

# While pip unpacks what it has fetched it says nothing: a clock beside it tells how much is there.
CLOCK = (while sleep 2; do du -sh .venv; done) & clock=$$!; trap "kill $$clock" EXIT;

# Without --no-compile pip compiles every module of every library, which takes half as long as all the rest; Python
# compiles those few that are imported.
.venv/installed-%: pyproject.toml constraints.txt
	@echo "making .venv; what it downloads and how to get the small build of torch: README.md, Install"
	@test -x $(BIN)/python || { $(CLOCK) $(PYTHON) -m venv .venv; }
	@$(CLOCK) $(BIN)/python -m pip install --no-compile --constraint constraints.txt --editable '.[$(EXTRAS)]'
	touch $@

.venv/installed-user: EXTRAS := infer,cloud,export,plot
.venv/installed-dev: EXTRAS := infer,cloud,export,plot,dev
.venv/installed-bench: EXTRAS := infer,cloud,export,plot,dev,bench

demo: install
	$(BIN)/pipe demo

# Two tiers: what a developer waits for, and the rest. A worker runs whole files, in their order.
PYTEST = $(BIN)/python -m pytest --quiet --numprocesses auto --dist loadfile --no-loadscope-reorder

test: dev
	$(PYTEST) -m "not (slow or real or gpu)"

test-slow: dev
	$(PYTEST) -m "slow or real or gpu"

test-all: test test-slow

lint: dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/installed-bench
	for name in scoring metrics store infer; do $(BIN)/python -m benchmarks.$$name || exit 1; done

clean:
	rm -rf .venv .links build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
