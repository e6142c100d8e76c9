# Everything runs in .venv, installed at the exact versions of constraints.txt.
PYTHON ?= python3
BIN := .venv/bin
# Otherwise each of the many processes that tests start would compile the sources anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup demo test test-fast test-cluster test-browser deployment-test lint rooms docs bench validate upgrade clean

setup: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[test,lint]'
	touch $@

demo: setup
	$(BIN)/ddp run digits

# Two processes share the tests, which mostly wait for servers and workers of their own.
test: setup
	$(BIN)/pytest --numprocesses 2 --dist loadgroup --no-loadscope-reorder

# The three parts of the tests, each of which runs alone; tests/reached.py sorts them.
test-fast: setup
	# Tensors of tests are small: several threads would only wait for each other.
	OMP_NUM_THREADS=1 $(BIN)/pytest -m fast

# Whatever starts a cluster, a server or a process, or takes long.
test-cluster: setup
	$(BIN)/pytest -m "not fast and not browser and not deployment"

test-browser: setup
	$(BIN)/pytest -m "browser and not deployment"

# What deployment/ describes, on real servers, workers and schedulers of this machine.
deployment-test: setup
	$(BIN)/pytest -m deployment

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The picture of the rooms in CONTRIBUTING.md and docs/architecture.md.
rooms: setup
	$(BIN)/python -m docs.rooms

# The site, into build/site/VERSION: pages, links and spelling (Debian's libenchant-2-2, hunspell-en-gb).
docs: setup
	$(BIN)/python -m docs.site

bench: setup
	$(BIN)/python -m benchmarks $(if $(DATA),--data $(DATA))

# Most of an hour on two cores: MNIST and CIFAR-10 with the paper's networks; DATA holds images and models.
validate: setup
	$(BIN)/python -m benchmarks.validation --data $(DATA)

# Resolve the newest versions that pyproject.toml allows; run make test before keeping them.
upgrade:
	rm -rf .venv-upgrade
	$(PYTHON) -m venv .venv-upgrade
	.venv-upgrade/bin/pip install --quiet --upgrade pip
	.venv-upgrade/bin/pip install --quiet --editable '.[test,lint]'
	{ echo '# The exact versions tested together; make upgrade renews them.'; \
	  .venv-upgrade/bin/pip freeze --exclude-editable; } > constraints.txt
	rm -rf .venv-upgrade

clean:
	rm -rf .venv .venv-upgrade .pytest_cache .mypy_cache .ruff_cache
