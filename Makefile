# `make run` and `make test` set up everything they need: git and Python ≥ 3.11 with venv are enough.
PYTHON ?= python3
BIN := .venv/bin
# Tests wait more than they work: three at a time, each with servers of its own.
AT_A_TIME ?= -n 3 --dist worksteal
export PYTHON

.PHONY: help run test torture bench check lint lock clean

help: ## what there is to make
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST)

run: ## the server with embedded Valkey and PostgreSQL, on http://127.0.0.1:8000
	@scripts/environment runtime
	@exec $(BIN)/viva up $(ARGS)

test: ## all tests but the long ones, on servers that they start themselves
	@scripts/environment dev
	$(BIN)/pytest -m "not torture" $(AT_A_TIME) $(ARGS)

torture: ## the long versions of the tests
	@scripts/environment dev
	$(BIN)/pytest -m torture --timeout 7200 -o faulthandler_timeout=7300 $(ARGS)

bench: ## what a token and an interview cost, beside peers in the same run: about an hour
	@scripts/environment bench
	@$(BIN)/python -m loadtest.bench $(ARGS)

check: lint test ## everything that CI runs

lint: ## format, lint, types, walls between the packages, spelling
	@scripts/environment dev
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	@# The version in the wheel, without asking a registry for a newer one.
	PYRIGHT_PYTHON_FORCE_VERSION=$$($(BIN)/python -c 'import pyright; print(pyright.__pyright_version__)') \
	  PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/codespell

lock: ## pin every dependency anew, with hashes (needs uv)
	scripts/lock $(ARGS)

clean: ## remove what can be made again; interviews in .viva stay
	rm -rf .venv build *.egg-info .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
