#!/usr/bin/env bash
# Installs what the tests drive and this machine lacks: Node with npm, for the published JavaScript clients, and a Redis server.
set -euo pipefail

missing=()
command -v node >/dev/null 2>&1 && command -v npm >/dev/null 2>&1 || missing+=(nodejs npm)
command -v redis-server >/dev/null 2>&1 || missing+=(redis-server)
[ ${#missing[@]} -eq 0 ] && exit 0

root=()
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null 2>&1 && root=(sudo -n)
fi
printf 'Installing %s for the tests ...\n' "${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
if ! command -v apt-get >/dev/null 2>&1 ||
    ! { "${root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null 2>&1 ||
        { "${root[@]}" apt-get update -qq && "${root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >/dev/null; }; then
    printf 'The tests need %s: install them and try again.\n' "${missing[*]}" >&2
    exit 1
fi
