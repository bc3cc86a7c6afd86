# Needs Python >= 3.11, pip and make. Everything is installed into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: setup demo test slow gpu bench lint clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "torch==$$(sed -n 's/^torch==//p' constraints.txt)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $(READY)

demo: setup        ## the main job on documentation that is already on this machine, within 10 minutes
	$(BIN)/polysemy ladder --demo -o study --overwrite

test: setup        ## the default tests, under 10 minutes on 2 cores
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadscope

slow: setup        ## worlds, real text, faults and everything else that takes longer
	$(BIN)/python -m pytest -m slow

gpu: setup         ## what needs a CUDA device
	$(BIN)/python -m pytest -m gpu

bench: setup       ## every comparison with a peer, one after the other (long)
	@for file in benchmarks/*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

lint: setup
	$(BIN)/ruff check src tests benchmarks examples
	$(BIN)/lint-imports
	$(BIN)/pyright

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache study runs
