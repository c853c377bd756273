# The commands of a contributor, one a target; CONTRIBUTING.md explains them, and .ci/run uses the same words.
.DEFAULT_GOAL := help
.PHONY: help env demo test test-one test-all types lint format docs serve bench

T ?= tests/house/test_docs.py

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

env:  ## make the environment, .venv
	uv sync --quiet --group docs

demo:  ## run one turn against a scripted server, and show its trace
	uv run moa demo

test:  ## run the tests
	uv run pytest

test-one:  ## run one test: make test-one T=tests/house/test_demo.py, or T="tests -k name"
	uv run pytest $(T)

test-all:  ## run all that continuous integration runs: needs Chromium and npm
	.ci/run

types:  ## check the types with mypy and basedpyright
	uv run mypy
	uv run basedpyright

lint:  ## check style and formatting
	uv run ruff check
	uv run ruff format --check

format:  ## fix style and formatting
	uv run ruff check --fix
	uv run ruff format

docs: export NO_MKDOCS_2_WARNING = 1
docs:  ## build the documentation into site/
	uv run --group docs mkdocs build --quiet --strict

serve: export NO_MKDOCS_2_WARNING = 1
serve:  ## show the documentation in a browser, and rebuild it on each change
	uv run --group docs mkdocs serve

bench:  ## measure the overhead: some minutes on a quiet machine
	uv run --group bench python -m benchmarks
