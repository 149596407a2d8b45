#!/usr/bin/env bash
# The part of pythons.sh that runs inside the root: the README's first command and two questions.
set -euo pipefail
cd /cauce
log=/tmp/run.log

make run >"$log" 2>&1 &
run=$!
trap 'kill "$run" 2>/dev/null || true' EXIT

fail() {
    echo "FAILED: $*" >&2
    tail -n 20 "$log" >&2
    exit 1
}

ask() { timeout 60 .venv/bin/cauce ask "$1" --thread newcomer --json 2>/tmp/ask.err; }

until [ -x .venv/bin/cauce ] && answer=$(ask "What mail do I have?"); do
    kill -0 "$run" 2>/dev/null || fail "make run ended by itself"
    [ "$SECONDS" -lt 300 ] || fail "no answer within 300 s: $(cat /tmp/ask.err 2>/dev/null)"
    sleep 0.5
done
case $answer in *mails*) ;; *) fail "the first answer does not name the mail: $answer" ;; esac
second=$(ask "Hello, what can you do?") || fail "no second answer: $(cat /tmp/ask.err)"
[ -n "$second" ] || fail "the second answer is empty"
echo "$(.venv/bin/python --version): two questions answered, $SECONDS s after make run"
