# make demo   the main job on the built-in images
# make test   everything CI checks: style, types, import rules, tests
# Both make their own environment in .venv from pyproject.toml; PYTHON=python3.13 chooses another interpreter.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint lock clean

demo: .venv/ready
	$(BIN)/python train.py experiment=demo

test: .venv/ready lint
	$(BIN)/python -m pytest -n 2 --dist worksteal

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.venv/ready: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

# Exact versions with hashes and without the address of any index, for Python 3.11 to 3.13:
#   pip install --require-hashes -r requirements.lock
lock:
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/pip install --quiet uv
	.venv-lock/bin/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --prerelease allow \
		--generate-hashes --no-emit-index-url --no-header --output-file requirements.lock

clean:
	rm -rf .venv .venv-lock build *.egg-info
