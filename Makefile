# Two commands do it all:  make demo   and   make test
# They make and reuse .venv; everything is also reachable by pip install + snakemake / pytest (README).

PYTHON ?= python3
# Not by OMP_NUM_THREADS, which nproc would heed: these are processes of one thread each.
CORES ?= $(shell env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc 2>/dev/null || echo 2)
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
PARITY := .venv-parity
MACE := .venv-mace
OPENCL := .venv-opencl
PIP := -m pip install --disable-pip-version-check --quiet

.PHONY: demo test test-fast test-opencl lint format setup setup-test parity-env parity mace-env bench bench-full bench-training \
	schema clean help

help:
	@echo "make demo    label, train, simulate, analyze with config/config.yaml; results/report.html"
	@echo "make test    the test suite"
	@echo "make test-fast  the tests without the mark slow: no Snakemake, no killed processes, no benchmarks"
	@echo "make test-opencl  the tests on OpenMM's OpenCL platform alone, run by the processor"
	@echo "make lint    ruff, mypy, import-linter, snakefmt, snakemake --lint, the schema"
	@echo "make format  what lint checks, brought into its form"
	@echo "make parity  the full comparison with lorem-jax, the default model included"
	@echo "make bench   times against lorem-jax, time and memory by size, a long run; figures"
	@echo "make bench-full   the same with MACE and larger systems"
	@echo "make bench-training   structures per second in training, against lorem-jax"
	@echo "make setup   only the environment (.venv)"
	@echo "make clean   remove the environments (results stay)"

demo: setup
	PATH="$(BIN):$$PATH" snakemake train_all --cores $(CORES)

# A file's tests run in one worker, which makes what they share; files in the order of tests/conftest.py.
PYTEST = PATH="$(BIN):$$PATH" python -m pytest -n $(CORES) --dist loadfile --no-loadscope-reorder

test: setup-test parity-env
	$(PYTEST) --durations=25
	$(MAKE) test-opencl OPENCL_TESTS="OpenCL and (calculator or by_hand or boxes_away)"

test-fast: setup-test
	$(PYTEST) --durations=10 -m "not slow"

# OpenMM's OpenCL platform on the processor, by Intel's runtime in an environment of its own: where it does not start
# (another processor, no such package), the tests are left out and the reason is printed.
OPENCL_TESTS ?= OpenCL
OPENCL_LIB = $(CURDIR)/$(OPENCL)/lib
WITH_OPENCL = LD_LIBRARY_PATH="$(OPENCL_LIB):$$LD_LIBRARY_PATH" OCL_ICD_FILENAMES="$(OPENCL_LIB)/libintelocl.so"
test-opencl: setup-test
	-$(MAKE) $(OPENCL)/opencl.stamp
	if $(WITH_OPENCL) $(BIN)/python -c "import openmm; openmm.Platform.getPlatform('OpenCL')"; \
	then $(WITH_OPENCL) $(BIN)/python -m pytest -n $(CORES) tests/integrations -k "$(OPENCL_TESTS)"; \
	else echo "no OpenCL platform here: its tests were not run"; fi

$(OPENCL)/opencl.stamp:
	test -x $(OPENCL)/bin/python || $(PYTHON) -m venv $(OPENCL)
	$(OPENCL)/bin/python $(PIP) intel-opencl-rt==2026.2.0 intel-cmplr-lib-rt==2026.2.0
	touch $@

lint: setup-test
	PATH="$(BIN):$$PATH" sh envs/lint.sh

format: setup-test
	PATH="$(BIN):$$PATH" sh envs/lint.sh format

parity: setup-test parity-env
	LOREM_PARITY_FULL=1 $(BIN)/python -m pytest tests/parity tests/benchmarks/test_learning.py -n $(CORES)

RESULTS ?= benchmarks/results

bench: setup parity-env
	$(BIN)/python benchmarks/table.py --structures sn2 dimer13 dimer24 cumulene water192 water1536 --output $(RESULTS)/table.json
	$(BIN)/python benchmarks/scale.py --output $(RESULTS)/scale.json
	$(BIN)/python benchmarks/steady.py --steps 10000 --output $(RESULTS)/steady.json
	$(BIN)/python benchmarks/figures.py --results $(RESULTS) --output $(RESULTS)

bench-full: setup parity-env mace-env
	$(BIN)/python benchmarks/table.py --structures sn2 dimer13 dimer24 cumulene water192 water1536 water5184 water12288 \
		--output $(RESULTS)/table.json
	$(BIN)/python benchmarks/scale.py --structures water192 water1536 water5184 water12288 water24000 water98304 \
		--output $(RESULTS)/scale.json
	$(BIN)/python benchmarks/steady.py --steps 50000 --output $(RESULTS)/steady.json
	$(BIN)/python benchmarks/profile_step.py --output $(RESULTS)/profile.json
	$(BIN)/python benchmarks/figures.py --results $(RESULTS) --output $(RESULTS)

bench-training: setup parity-env
	$(BIN)/python benchmarks/training.py --batches cumulenes dimers --output $(RESULTS)/training.json
	$(BIN)/python benchmarks/training.py --batches water192 --bursts 3 --length 2 --output $(RESULTS)/training-water.json

schema: setup
	$(BIN)/lorem-openmm schema --output config/schema.json

setup: $(VENV)/run.stamp
setup-test: $(VENV)/test.stamp
parity-env: $(PARITY)/parity.stamp

# A stamp is newer than what it was made from only after a complete installation.
$(VENV)/run.stamp: pyproject.toml envs/run.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python $(PIP) -c envs/run.txt -e ".[train,workflow,label,analysis,torchforce]"
	touch $@

$(VENV)/test.stamp: $(VENV)/run.stamp
	$(BIN)/python $(PIP) -c envs/run.txt -e ".[all,torchforce,dev]"
	touch $@

$(PARITY)/parity.stamp: envs/parity.txt
	test -x $(PARITY)/bin/python || $(PYTHON) -m venv $(PARITY)
	$(PARITY)/bin/python $(PIP) -c envs/parity.txt lorem-jax
	touch $@

mace-env: $(MACE)/mace.stamp
$(MACE)/mace.stamp: envs/bench.txt
	test -x $(MACE)/bin/python || $(PYTHON) -m venv $(MACE)
	$(MACE)/bin/python $(PIP) -r envs/bench.txt
	touch $@

clean:
	rm -rf $(VENV) $(PARITY) $(MACE) $(OPENCL)
