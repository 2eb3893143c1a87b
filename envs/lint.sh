#!/bin/sh
# Every check that is not a test.
set -eu
ruff check lorem_openmm tests benchmarks examples
ruff format --check lorem_openmm tests benchmarks examples
mypy
lint-imports
snakefmt --check Snakefile workflows
snakemake --lint
lorem-openmm schema | cmp - config/schema.json
