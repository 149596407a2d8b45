#!/usr/bin/env bash
# What `make test` does before the tests: tools and servers to test with, `make check`, and beside it the README's first command on another Python.
set -euo pipefail
cd "$(dirname "$0")/.."

deploy/test_tools.sh
set -m # what runs in the background is a group of processes, which ends as one
deploy/pythons.sh --if-possible forky &
trap 'kill -- -$! 2>/dev/null || true' EXIT
make --no-print-directory check
.venv/bin/python -m deploy.cluster --fetch-only
wait $!
trap - EXIT
