.DEFAULT_GOAL := help
.PHONY: help run test check simulate chaos bench cluster pythons lock

help: ## List the targets
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile | expand -t 18

run: .venv/.run ## Start everything on this machine, embedded (installs into .venv first)
	@exec .venv/bin/cauce up $(ARGS)

test: .venv/.dev ## Everything that CI runs; starts a real Kafka and a real Cassandra itself
	@deploy/ready_for_tests.sh
	@.venv/bin/python -m pytest -n auto --dist loadgroup --no-loadscope-reorder $(ARGS)

check: .venv/.dev ## Format, lint, types and the direction of imports
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports

simulate: .venv/.dev ## Random faults on a virtual clock, SEEDS of them (10000)
	@.venv/bin/python tests/simulation/simulate.py --seeds $(or $(SEEDS),10000) $(ARGS)

chaos: .venv/.dev ## Faults against real Kafka and Cassandra, SECONDS of them (900), and against the embedded system
	@.venv/bin/python -m deploy.cluster --fetch-only
	@.venv/bin/python tests/chaos/chaos.py --seconds $(or $(SECONDS),900) --outages $(ARGS)
	@.venv/bin/python tests/chaos/chaos.py --seconds 120 --embedded

bench: .venv/.dev ## Measure turns a second, latency and streams, embedded and on Kafka and Cassandra
	@.venv/bin/python -m bench $(ARGS)

cluster: .venv/.run ## Real Kafka and Cassandra in the foreground, to try things by hand
	@exec .venv/bin/python -m deploy.cluster $(ARGS)

pythons: ## The README's first command on the Pythons of Debian's releases (root, Debian)
	@deploy/pythons.sh $(ARGS)

lock: ## Write the locks again from pyproject.toml (needs uv)
	@uv pip compile $(LOCK) --group build --group dev -o requirements-dev.lock
	@uv pip compile $(LOCK) --group build -c requirements-dev.lock -o requirements.lock

LOCK := -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header pyproject.toml

.venv/.run: requirements.lock pyproject.toml
	@PYTHON="$(PYTHON)" deploy/setup.sh run

.venv/.dev: .venv/.run requirements-dev.lock
	@deploy/setup.sh dev
