# make demo and make test need Python 3.11+, pip and make; everything else goes into .venv.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help demo studio test suite marked-device lint types duplicates rewritten js-if-npm js slow test-busy bench \
	bench-gpu reproduce second-device diagnose-suite fuzz chaos wild pictures clean

help:
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

demo: .venv/.demo  ## train an autoencoder and two VAEs on real digits, measure and draw them
	$(BIN)/nelbo demo $(ARGS)

studio: .venv/.demo  ## the browser: drag a Gaussian, drag a latent, see the loss
	$(BIN)/nelbo studio $(ARGS)

# more workers than cores of the machine CI has, because tests wait for browsers and processes; but each takes a quarter
# of a minute to import and collect
TESTS := OMP_NUM_THREADS=1 $(BIN)/pytest -n 4 --dist worksteal

test:  ## every check and the whole test suite
	@$(MAKE) -j 2 js-if-npm duplicates lint rewritten types suite $(if $(ARGS),,marked-device)

duplicates: .venv/.tools
lint types rewritten: .venv/.dev
suite marked-device: lint rewritten

suite:
	$(TESTS) $(ARGS)

# its report appears when it is complete, not between the lines of the suite that runs beside it
marked-device:
	@report=$$($(TESTS) -n 1 -m "device and not slow" --second-device \
		$$(grep -rl --include='test_*.py' mark.device tests) 2>&1); code=$$?; printf '%s\n' "$$report"; exit $$code

lint:
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/lint-imports

types:
	$(BIN)/basedpyright

duplicates:
	$(BIN)/pylint --disable=all --enable=duplicate-code --min-similarity-lines=8 \
		--ignore-imports=y --ignore-signatures=y --ignore-docstrings=y src/nelbo

# pytest rewrites the assertions of every file once, here, and not in each worker
rewritten:
	@$(BIN)/pytest --collect-only -qq $(ARGS) >/dev/null || true

js-if-npm:
	@if command -v npm >/dev/null || [ "$$CI" = true ]; then $(MAKE) js; \
		else echo "no npm: the studio's JavaScript is tested in the browser only (make js)"; fi

js: node_modules/.done  ## the studio's JavaScript: its format, lint, types and mathematics (Node 18 or newer)
	npm run --silent check

slow: .venv/.dev  ## the tests that take minutes
	$(TESTS) -m slow $(ARGS)

second-device: .venv/.dev  ## all that computes, on a pretend accelerator in the CPU's memory (half an hour)
	$(TESTS) --second-device tests/test_devices.py tests/measure tests/training \
		tests/test_figures.py tests/diagnosis tests/wrapping tests/test_cli.py tests/divergences tests/test_demo.py \
		tests/evaluation tests/test_evaluation.py tests/test_vae.py tests/test_runs.py tests/test_randomness.py $(ARGS)

test-busy: .venv/.dev  ## the whole suite beside ten busy loops: nothing in it waits for a time (hours)
	@for _ in 1 2 3 4 5 6 7 8 9 10; do (while :; do :; done) & busy="$$busy $$!"; done; trap 'kill $$busy' EXIT; \
		$(TESTS) $(ARGS)

diagnose-suite: .venv/.dev  ## plant faults, diagnose them, and write the table and the pages of the findings
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.planted --docs $(ARGS)
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.planted.real --docs

fuzz: .venv/.dev  ## search for inputs that end in a traceback or not at all, ten minutes (ARGS="--minutes 1")
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzz --docs $(ARGS)

chaos: .venv/.dev  ## kill trainings and scorings at random and compare what they end in with undisturbed ones, 45 minutes
	$(BIN)/python -m tests.chaos $(ARGS)

wild: .venv-wild/.done  ## what the losses of other projects weigh, measured again, into docs/wild.md (10 min)
	OMP_NUM_THREADS=1 .venv-wild/bin/python -m tests.wild --docs $(ARGS)

.venv-wild/.done: tests/wild/requirements.txt pyproject.toml
	$(PYTHON) -m venv .venv-wild
	.venv-wild/bin/pip install --quiet --disable-pip-version-check $$(grep '^torch==' constraints.txt)
	.venv-wild/bin/pip install --quiet --disable-pip-version-check -e . -r tests/wild/requirements.txt
	@touch $@

pictures: .venv/.dev  ## take the studio's pictures for the README and the docs, from the pages with the demo's runs
	NELBO_PICTURES=docs/images OMP_NUM_THREADS=1 $(BIN)/pytest tests/studio/test_pictures.py $(ARGS)

bench: .venv-bench/.done  ## nelbo beside its peers, in one run (.venv-bench holds the peers)
	.venv-bench/bin/python -m benchmarks $(ARGS)

# with WHEELS a folder of wheels, without network: what is not among them, torch for one, is that of $(PYTHON)
bench-gpu: $(if $(WHEELS),.venv-gpu/.done)  ## training and measuring on an accelerator, beside peers; 1 if nelbo fell short
	PYTHONPATH=src $(if $(WHEELS),.venv-gpu/bin/python,$(PYTHON)) -m benchmarks.gpu $(ARGS)

.venv-gpu/.done: $(WHEELS)
	$(PYTHON) -m venv --clear --system-site-packages .venv-gpu
	.venv-gpu/bin/pip install --quiet --disable-pip-version-check --no-index --find-links $(WHEELS) $(WHEELS)/*.whl
	@touch $@

reproduce: .venv/.demo  ## published log-likelihoods, trained and measured again, into docs/reproduce.md (40 min)
	$(BIN)/python -m benchmarks.reproduce $(ARGS)

.venv-bench/.done: benchmarks/requirements.txt pyproject.toml
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/pip install --quiet --disable-pip-version-check $$(grep '^torch==' constraints.txt)
	.venv-bench/bin/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[demo,studio]'
	.venv-bench/bin/pip install --quiet --disable-pip-version-check -r benchmarks/requirements.txt
	@touch $@

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "nelbo needs Python 3.11 or newer; got $$($(PYTHON) --version). Write: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv .venv

# torch first, at its pinned version: what depends on it must not pull another build
.venv/.demo: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check $$(grep '^torch==' constraints.txt)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[demo,studio]'
	@touch $@

# first what needs no torch, so that it checks while torch is installed; one pip at a time
.venv/.tools: requirements-dev.txt constraints.txt | .venv/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -r requirements-dev.txt
	@touch $@

.venv/.dev: .venv/.tools pyproject.toml constraints.txt
	@$(MAKE) .venv/.demo
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt 'nelbo[notebook]'
	@touch $@

node_modules/.done: package.json package-lock.json
	npm ci
	@touch $@

clean:  ## remove the environment and caches; runs stay
	rm -rf .venv .venv-bench .venv-gpu .venv-wild node_modules .pytest_cache .ruff_cache .import_linter_cache
