#!/usr/bin/env bash
# Makes .venv and installs the locked packages into it; the Makefile calls it when a lock is newer than the last time.
# usage: deploy/setup.sh run|dev      PYTHON=... chooses the interpreter of a new .venv
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '%s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

supported() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' >/dev/null 2>&1; }

find_python() {
    local candidate
    for candidate in ${PYTHON:-python3.14 python3.13 python3.12 python3.11 python3}; do
        if supported "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    die "Cauce needs Python 3.11 to 3.14; none of these is one: ${PYTHON:-python3.14 python3.13 python3.12 python3.11 python3}." \
        "Install one (on Debian: apt-get install python3 python3-venv) or name it: make run PYTHON=/path/to/python"
}

make_venv() {
    local python version
    python=$(find_python)
    if ! "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
        version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        die "Python $version here cannot make virtual environments, because Debian keeps that in a package of its own." \
            "Install it and try again: apt-get install python$version-venv"
    fi
    say "Making .venv with $("$python" --version), about 5 s ..."
    "$python" -m venv --clear .venv
}

# Every package is a wheel whose hash is in the lock: nothing is built, and nothing else is fetched.
install_locked() {
    say "Installing the $(grep -c '^[a-zA-Z].*==' "$1") packages of $1, about $2 s ..."
    .venv/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary :all: -r "$1"
}

# What an interrupted run left behind may lack pip.
supported .venv/bin/python && .venv/bin/python -c 'import pip' 2>/dev/null || make_venv

case ${1:-} in
run)
    install_locked requirements.lock 40
    .venv/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index --editable .
    ;;
dev) install_locked requirements-dev.lock 10 ;;
*) die "usage: deploy/setup.sh run|dev" ;;
esac
touch ".venv/.$1"
