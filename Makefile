# `make` prints the targets. Every recipe line can be typed by hand.
PYTHON ?= python3
VENV ?= .venv
CORES ?= all
CONFIG ?=
BIN := $(VENV)/bin
# Snakemake needs a folder for its caches; where the home cannot be written, one in the suite.
CACHE := $${XDG_CACHE_HOME:-$$HOME/.cache}/snakemake
CACHED := $(shell mkdir -p "$(CACHE)" 2>/dev/null && test -w "$(CACHE)" || echo 'XDG_CACHE_HOME="$(CURDIR)/.snakemake/cache"')
SNAKEMAKE := $(CACHED) PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/snakemake --cores $(CORES)

.DEFAULT_GOAL := help
.PHONY: help install reproduce smoke desk paper gpu tuning exploration render retry test test-gpu test-cluster lint format docs bench check-baseline new-baseline status report clean

help: ## Print the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-16s %s\n", $$1, $$2}'

$(BIN)/.installed: pyproject.toml constraints.txt $(wildcard metakan/native/*.[ch])
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[suite,dev]'
	touch $@

install: $(BIN)/.installed ## Create .venv and install the suite with the versions of constraints.txt

reproduce: install ## Train, collect and render the default study (results/laptop/report.html)
	$(SNAKEMAKE) $(CONFIG)
	@test ! -f results/laptop/compare.md || sed -n 3p results/laptop/compare.md

smoke: install ## The same at the smallest scale: every baseline, every task family, two seeds
	$(SNAKEMAKE) --configfile workflow/config/smoke.yaml

desk: install ## Near-published budgets and seeds enough to decide: one night on two cores, no GPU; resumes
	$(SNAKEMAKE) --configfile workflow/config/desk.yaml

paper: install ## The full grid, on a GPU
	$(SNAKEMAKE) --configfile workflow/config/paper.yaml

gpu: install ## All that needs a GPU: its tests, the engine's and the loop's speed, the full grid into results/reference
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest -m gpu -rs
	-$(BIN)/python benchmarks/gpu_engine.py
	$(BIN)/python benchmarks/training_loop.py
	-$(SNAKEMAKE) --configfile workflow/config/paper.yaml
	$(BIN)/python -m kanbench collect --plan results/paper/plan.json --output results/reference

tuning: install ## Choose learning rates, what E12 leaves open, and references, on validation and on seeds of its own
	for round in 1 2 3 4 5; do \
	  $(SNAKEMAKE) --configfile workflow/config/tuning.yaml --until collect && \
	  $(BIN)/python -m kanbench choose --output workflow/config/tuning.csv || exit 1; \
	done

exploration: install ## Compare forms of a generated KAN, on validation and on seeds of its own (results/exploration/report.html)
	$(SNAKEMAKE) --configfile workflow/config/exploration.yaml

render: install ## Render the published record set again; needs no GPU
	$(SNAKEMAKE) --config records=results/reference

retry: install ## Make the runs of the default study again that failed (`python -m kanbench retry --help` for others)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m kanbench retry --cores $(CORES)

status: install ## How far the default study is: runs done, planned, failed, time left
	$(BIN)/python -m kanbench status

report: install ## Snakemake's own report, with captions and provenance (results/laptop/snakemake-report.html)
	$(SNAKEMAKE) --report results/laptop/snakemake-report.html

test: install ## The test suite; the tests marked gpu skip themselves where there is none
	PATH="$(CURDIR)/$(BIN):$$PATH" OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist worksteal

test-gpu: install ## Only the tests that need a GPU
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest -m gpu -rs

test-cluster: install ## The Slurm profile on a cluster of this machine; as root, with Debian's slurm-wlm and munge
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[slurm]'
	PATH="$(CURDIR)/$(BIN):$$PATH" KANBENCH_CLUSTER=1 $(BIN)/python -m pytest tests/cluster -rs

lint: install ## Style, spelling, workflow lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow/rules
	$(BIN)/codespell
	$(BIN)/mypy
	$(BIN)/hadolint containers/Dockerfile
	$(BIN)/spython recipe --parser singularity containers/suite.def >/dev/null
	$(BIN)/shellcheck tests/cluster/sandbox.sh
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/snakemake --lint

format: install ## Rewrite the code in house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile workflow/rules

docs: install ## The documentation as a site (build/docs/index.html); a dead link is an error
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[docs]'
	$(BIN)/python -m sphinx -b html -E -W --keep-going -q docs build/docs

bench: install ## Speed and memory, measured side by side; error rates of verdicts, by simulation
	$(BIN)/python benchmarks/engine.py
	$(BIN)/python benchmarks/peers.py
	$(BIN)/python benchmarks/data_loading.py
	$(BIN)/python benchmarks/training_loop.py
	$(BIN)/python benchmarks/planning.py
	$(BIN)/python benchmarks/statistics.py
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python benchmarks/report.py

check-baseline: install ## Check the contract of baselines/NAME (all without NAME)
	$(BIN)/python -m kanbench check-baseline $(NAME)

new-baseline: install ## Create baselines/NAME from the template, or with FROM=inkan around a package
	$(BIN)/python -m kanbench new-baseline $(NAME) $(if $(FROM),--from $(FROM)) $(if $(ESTIMATOR),--estimator) $(if $(REQUIREMENT),--requirement "$(REQUIREMENT)")

clean: ## Remove generated results, but not the published ones
	rm -rf results/laptop results/smoke results/desk results/paper results/tuning results/exploration .snakemake
