# kormed: what you would type. `make help` lists it. Everything installs into .venv (and .venv-argilla) of this folder.
#   RECIPE=recipes/….yaml   which run           SET="sft.epochs=1 dpo.beta=0.2"   recipe values to change
#   FORCE=1                 make it anew; the one that stands there moves to .previous/
#   GPUS=2                  train on so many GPUs of this machine
RECIPE ?= recipes/gemma-2-2b-it.yaml
SET ?=
FORCE ?=
GPUS ?=
VALUES ?=
RUNS ?=
PYTHON ?= python3
DEMO = recipes/demo/demo.yaml
KORMED = .venv/bin/kormed
RUN = $(RECIPE) $(foreach value,$(SET),--set '$(value)')
STAGE = $(RUN) $(if $(FORCE),--force)

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all lint check collect import restructure prepare sft candidates label compare-label push pull progress conflicts agreement preferences dpo sweep eval report compare status browser

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

setup: .venv/.ready ## install everything into .venv, with the versions that were tested

.venv/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --upgrade pip
	.venv/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[demo,dev,tensorboard]'
	touch $@

demo: setup ## the whole job on this machine: real Gemma 270M, fictional data, simulated annotators, report
	.venv/bin/python recipes/demo/base_model.py
	$(KORMED) annotate simulate $(DEMO)
	$(KORMED) dpo $(DEMO)
	$(KORMED) evaluate $(DEMO)
	$(KORMED) annotate simulate $(DEMO) --round compare
	$(KORMED) report $(DEMO)
	@echo "label for real, in your browser:  make label RECIPE=$(DEMO)   then: make pull RECIPE=$(DEMO)"

check: setup ## validate RECIPE without running anything
	$(KORMED) check $(RUN)

collect: setup ## Hidoc pages to raw consults (only if the recipe has a section collect)
	$(KORMED) collect $(STAGE)

import: setup ## your own consults and questions, from JSONL, CSV or parquet (section import)
	$(KORMED) import $(STAGE)

restructure: setup ## raw consults, de-identified and told apart by an LLM
	$(KORMED) restructure $(STAGE)

prepare: setup ## KorMedMCQA and consults to decontaminated instruction rows
	$(KORMED) prepare $(STAGE)

sft: setup ## instruction rows to the SFT adapter
	$(KORMED) sft $(STAGE) $(if $(GPUS),--gpus $(GPUS))

candidates: setup ## the SFT model's answers to consults, paired for comparison
	$(KORMED) candidates $(STAGE)

label: setup ## start Argilla on this machine with the comparisons in it; Ctrl-C stops it
	$(KORMED) annotate serve $(RUN)

compare-label: setup ## the same people compare SFT's and DPO's answers to held-out consults
	$(KORMED) annotate serve $(RUN) --round compare

push: setup ## comparisons to Argilla (ARGILLA_API_URL and ARGILLA_API_KEY: your own server)
	$(KORMED) annotate push $(RUN)

pull: setup ## what annotators entered, from Argilla
	$(KORMED) annotate pull $(RUN)

progress: setup ## how far labelling is
	$(KORMED) annotate progress $(RUN)

conflicts: setup ## what annotators left undecided, put before the adjudicators
	$(KORMED) annotate conflicts $(RUN)

agreement: setup ## how far annotators agree, as a page
	$(KORMED) agreement $(STAGE)

preferences: setup ## responses to chosen/rejected pairs
	$(KORMED) preferences $(STAGE)

dpo: setup ## preferences to the DPO adapter
	$(KORMED) dpo $(STAGE) $(if $(GPUS),--gpus $(GPUS))

sweep: setup ## DPO over VALUES="dpo.beta=0.05,0.1 dpo.learning_rate=1e-6,5e-6", one table
	$(KORMED) sweep $(RUN) $(foreach value,$(VALUES),--values '$(value)')

eval: setup ## base, SFT and DPO on KorMedMCQA
	$(KORMED) evaluate $(STAGE)

report: setup ## everything measured to report.html and report.md
	$(KORMED) report $(STAGE)

compare: setup ## evaluated runs in one table: RUNS="recipes/a.yaml recipes/b.yaml" (also sweeps)
	$(KORMED) compare $(RUNS)

status: setup ## what is done, stale or missing
	$(KORMED) status $(RUN)

test: setup ## the tests, with a real Argilla and a tiny Gemma; no root, no GPU, no hub
	.venv/bin/python -m pytest

test-all: setup browser lint ## what `make test` leaves out: the labelling page in a browser, a server killed under load, lint
	.venv/bin/python -m pytest -m 'browser or crash'

browser: ## Chromium and a Korean font for test-all (as root, or with sudo)
	@test -x "$${KORMED_CHROMIUM:-/usr/bin/chromium}" && fc-list 2>/dev/null | grep -qi nanum || { \
	  SUDO=$$([ "$$(id -u)" = 0 ] || echo sudo); $$SUDO apt-get update -qq && $$SUDO apt-get install -y -qq chromium fonts-nanum fontconfig; }

lint: setup ## ruff and mypy
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
