#!/bin/sh
# Every check that is not a test; `sh envs/lint.sh format` formats what is checked here.
set -eu
PYTHON="lorem_openmm tests benchmarks examples"
SNAKEMAKE="Snakefile workflows"
case "${1:-check}" in
format)
	ruff check --fix $PYTHON
	ruff format $PYTHON
	snakefmt $SNAKEMAKE
	;;
check)
	ruff check $PYTHON
	ruff format --check $PYTHON
	mypy
	lint-imports
	snakefmt --check $SNAKEMAKE
	snakemake --lint
	lorem-openmm schema | cmp - config/schema.json
	;;
*)
	echo "envs/lint.sh: 'check' (default) or 'format', not '$1'" >&2
	exit 2
	;;
esac
