# `make run` trains the example on this machine, `make test` shows that all is right. `make help` lists the rest.

PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
JOB    ?= docs/examples/nano.yaml
LOCKS   = images/requirements
# Compiled programs of the tests, kept between runs.
export JAX_COMPILATION_CACHE_DIR ?= $(HOME)/.cache/lateen/tests-xla
export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS ?= 0.1
export JAX_PLATFORMS ?= cpu
PYTEST = $(BIN)/python -m pytest -q
# Levanter pins versions of its own: an environment of its own, from a list of `name==version`.
LEVANTER_HOME ?= $(HOME)/.cache/lateen/levanter
LEVANTER_PINS ?= ../shared/bench/levanter-pins.txt
# So do the data libraries that bench-data compares with.
DATA_PEERS_HOME ?= $(HOME)/.cache/lateen/data-peers
DATA_PEERS_PINS  = tests/benchmarks/data-peers.txt

.PHONY: help run setup test test-without-cluster cluster-programs lint test-unit test-trainer test-e2e test-cluster docs \
	chaos cluster cluster-down images reproducibility bench-elastic bench-reduction bench-data bench-corpus bench-operator bench-train \
	bench-checkpoint bench-import bench-optimizers crd lock clean

help: ## Show the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

run: $(VENV)/.run ## Train JOB (docs/examples/nano.yaml) on this machine
	$(BIN)/lateen run $(JOB)

setup: $(VENV)/.test ## Install everything that development needs into .venv

# The programs of the cluster take long to build the first time: that goes on beside the tests that need none.
test: $(VENV)/.test ## All tests, fast ones first
	$(MAKE) --no-print-directory -j 2 test-without-cluster cluster-programs
	$(MAKE) --no-print-directory test-cluster

test-without-cluster: $(VENV)/.test ## All tests but those on the cluster
	for target in lint test-unit test-trainer test-e2e; do $(MAKE) --no-print-directory $$target || exit 1; done

cluster-programs: $(VENV)/.test
	cd tests && nice -n 19 ../$(BIN)/python -m cluster build --programs

lint: $(VENV)/.test ## Style, types, and who may import whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

test-unit: $(VENV)/.test ## The contract and the operator: seconds
	$(PYTEST) tests/crds tests/operator tests/charts tests/test_*.py -n 2

test-trainer: $(VENV)/.test ## The trainer: minutes
	$(PYTEST) tests/trainer -n 2

test-e2e: $(VENV)/.test ## Whole runs by `lateen run`: minutes
	$(PYTEST) tests/e2e tests/reproducibility tests/monitoring

test-cluster: $(VENV)/.test ## The operator on a real cluster: many minutes; skipped but for root on Linux
	cd tests && ../$(BIN)/python -m cluster build
	$(PYTEST) tests/cluster tests/e2e_cluster

chaos: $(VENV)/.test ## FAULTS (20) faults on jobs that train on the cluster; SEED=… for those of another run
	cd tests && ../$(BIN)/python -m cluster build
	LATEEN_CHAOS_FAULTS=$(FAULTS) LATEEN_CHAOS_SEED=$(or $(SEED),$(shell date +%s)) $(PYTEST) -s tests/e2e_cluster/test_chaos.py

cluster: $(VENV)/.test ## Start a real cluster on this machine, as root on Linux; KIND=1: by kind, in Docker
	cd tests && ../$(BIN)/python -m cluster up $(if $(KIND),--kind)

cluster-down: $(VENV)/.test ## Remove it
	cd tests && ../$(BIN)/python -m cluster down

images: $(VENV)/.test ## Build the operator's and the trainer's image
	cd tests && ../$(BIN)/python -m cluster images

reproducibility: $(VENV)/.test ## All layouts and faults, compared bit by bit: an hour; writes docs/reproducibility.md
	cd tests && ../$(BIN)/python -m reproducibility run --missing
	cd tests && ../$(BIN)/python -m reproducibility table

bench-elastic: $(VENV)/.test ## The elastic step beside the fast one
	$(BIN)/python tests/benchmarks/bench_elastic.py

bench-reduction: $(VENV)/.test ## Ways of adding gradients, equal on every layout
	$(BIN)/python tests/benchmarks/bench_reduction.py

bench-data: $(VENV)/.test $(DATA_PEERS_HOME)/.installed ## Tokenizing and reading beside datasets, Arrow and Grain; memory of readers
	$(BIN)/python tests/benchmarks/bench_data.py --peers $(DATA_PEERS_HOME)/bin/python $(OPTIONS)

bench-corpus: $(VENV)/.test ## 1 GB of text: time to the first step, equal losses however the cache is built
	$(BIN)/python tests/benchmarks/bench_corpus.py $(OPTIONS)

bench-operator: $(VENV)/.test ## The operator with a thousand jobs, on the cluster (OPTIONS="--jobs 100")
	PYTHONPATH=tests $(BIN)/python tests/benchmarks/bench_operator.py $(OPTIONS)

bench-train: $(VENV)/.test $(if $(LEVANTER),$(LEVANTER_HOME)/.installed) ## A training step beside PyTorch's GPT-2 and Llama; LEVANTER=1: and Levanter's
	$(BIN)/python tests/benchmarks/bench_train.py $(if $(LEVANTER),--levanter $(LEVANTER_HOME)/bin/python) $(OPTIONS)

bench-optimizers: $(VENV)/.test ## AdamW, Sophia-G, Muon and Lion on the nano corpus; writes docs/optimizers.md
	$(BIN)/python tests/benchmarks/bench_optimizers.py --write

bench-checkpoint: $(VENV)/.test ## Save and restore beside Orbax
	$(BIN)/python tests/benchmarks/bench_checkpoint.py

crd: $(VENV)/.test ## Generate the CRD, the reference pages and what the chart has of them from the code
	$(BIN)/lateen crd > crds/lmtrainingjobs.yaml
	$(BIN)/lateen crd --reference > docs/reference.md
	PYTHONPATH=tests $(BIN)/python -m metrics_page
	PYTHONPATH=tests $(BIN)/python -m cli_page
	PYTHONPATH=tests $(BIN)/python -m exit_codes_page
	$(BIN)/python charts/generate.py
	PYTHONPATH=charts $(BIN)/python -m dashboards

docs: $(VENV)/.test ## Build the documentation's site into build/site; fails on a broken link
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict -f tests/site/mkdocs.yml

bench-import: $(VENV)/.test ## Start from a Llama of 1.1 B parameters on 2 and 4 processes: bytes read and memory
	$(BIN)/python tests/benchmarks/bench_import.py

lock: $(VENV)/.test ## Resolve the dependencies and write them with their hashes
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --extra operator --extra trainer --extra test --extra bench --extra docs $(LOCK_FLAGS) -o $(LOCKS)/dev.txt
	$(BIN)/uv pip compile pyproject.toml --extra trainer -c $(LOCKS)/dev.txt $(LOCK_FLAGS) -o $(LOCKS)/trainer.txt
	$(BIN)/uv pip compile pyproject.toml --extra operator -c $(LOCKS)/dev.txt $(LOCK_FLAGS) -o $(LOCKS)/operator.txt
	$(BIN)/uv pip compile pyproject.toml --extra trainer --extra cuda -c $(LOCKS)/dev.txt $(LOCK_FLAGS) -o $(LOCKS)/trainer-cuda.txt
	$(BIN)/uv pip compile pyproject.toml --extra trainer --extra tpu -c $(LOCKS)/dev.txt $(LOCK_FLAGS) -o $(LOCKS)/trainer-tpu.txt
	$(BIN)/uv pip compile pyproject.toml --extra sbom -c $(LOCKS)/dev.txt $(LOCK_FLAGS) -o $(LOCKS)/sbom.txt
LOCK_FLAGS = --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	--custom-compile-command 'make lock'

clean: ## Remove the environment and the runs
	rm -rf $(VENV) runs

# An environment that can train, and one that can do everything. Both hold the same versions.
$(VENV)/.run: $(LOCKS)/trainer.txt pyproject.toml | $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r $<
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -e .
	touch $@

$(VENV)/.test: $(LOCKS)/dev.txt pyproject.toml | $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r $<
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -e .
	touch $@ $(VENV)/.run

$(LEVANTER_HOME)/.installed: $(LEVANTER_PINS)
	$(PYTHON) -m venv --clear $(LEVANTER_HOME)
	$(LEVANTER_HOME)/bin/pip install --quiet --no-deps -r $<
	touch $@

$(DATA_PEERS_HOME)/.installed: $(DATA_PEERS_PINS)
	$(PYTHON) -m venv --clear $(DATA_PEERS_HOME)
	$(DATA_PEERS_HOME)/bin/pip install --quiet --only-binary :all: --no-deps -r $<
	touch $@

$(VENV):
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else f"lateen needs Python 3.11 or newer, and $(PYTHON) is {v[0]}.{v[1]}: make PYTHON=python3.11 …")'
	$(PYTHON) -m venv $(VENV)
