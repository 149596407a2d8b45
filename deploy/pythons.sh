#!/usr/bin/env bash
# Tries the README's first command on the Pythons of Debian's releases, as somebody with a new machine would: makes a minimal root of
# each release, clones what is committed into it, runs `make run`, asks two questions, and stops it.
# usage: deploy/pythons.sh [--if-possible] [RELEASE...]     bookworm (3.11), trixie (3.13), forky (3.14); all of them if none is named
# It needs root on Debian, about 700 MB and two minutes a release; the roots stay in build/pythons. --if-possible: elsewhere, say so and succeed.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '%s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

optional=
[ "${1:-}" = --if-possible ] && { optional=yes; shift; }
releases=("$@")
[ ${#releases[@]} -gt 0 ] || releases=(bookworm trixie forky)

# What has to be there, in words, or nothing.
lacking() {
    [ "$(id -u)" -eq 0 ] || { echo "root (for chroot)"; return; }
    command -v apt-get >/dev/null 2>&1 && [ -e /etc/debian_version ] || { echo "Debian (for debootstrap)"; return; }
    unshare --mount true 2>/dev/null || echo "the right to mount (a container without it cannot make a root)"
}

lacks=$(lacking)
if [ -n "$lacks" ]; then
    [ -n "$optional" ] && { say "Other Pythons were not tried: that needs $lacks."; exit 0; }
    die "make pythons needs $lacks."
fi
if ! command -v debootstrap >/dev/null 2>&1; then
    export DEBIAN_FRONTEND=noninteractive
    install=(apt-get install -y -qq -o DPkg::Lock::Timeout=300 --no-install-recommends debootstrap)
    "${install[@]}" >/dev/null 2>&1 || { apt-get update -qq && "${install[@]}" >/dev/null; }
fi
# The archive that this machine installs from.
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -v security | head -n 1)
[ -n "$mirror" ] || die "apt names no archive here: run apt-get update and try again."

make_root() {
    local release=$1 root=$2 scripts=/usr/share/debootstrap/scripts
    [ -e "$root/.complete" ] && return
    say "Making a minimal root of Debian $release, about 50 s ..."
    rm -rf "$root"
    mkdir -p "$root"
    # A release that is younger than this debootstrap is made as sid is.
    debootstrap --variant=minbase --include=python3,python3-venv,make,git,ca-certificates \
        "$release" "$root" "$mirror" "$( [ -e "$scripts/$release" ] && echo "$scripts/$release" || echo "$scripts/sid")" \
        >"$root.log" 2>&1 || { tail -n 5 "$root.log" >&2; die "debootstrap could not make $root."; }
    touch "$root/.complete"
}

# What pip is told on this machine counts in the root too.
give_settings() {
    local root=$1 file
    cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
    for file in /etc/pip.conf "$HOME/.pip/pip.conf" "$HOME/.config/pip/pip.conf"; do
        [ -e "$file" ] && cp "$file" "$root/etc/pip.conf"
    done
    [ -e /etc/resolv.conf ] && cp -L /etc/resolv.conf "$root/etc/resolv.conf"
    cp -L /etc/hosts "$root/etc/hosts"
}

try() {
    local release=$1 root=build/pythons/$1 began=$SECONDS
    mkdir -p build/pythons
    make_root "$release" "$root"
    give_settings "$root"
    rm -rf "$root/cauce"
    git clone -q --no-local . "$root/cauce"
    cp deploy/pythons_inside.sh "$root/"
    # The mounts, and whatever still runs in the root, are gone with the command.
    unshare --mount --pid --fork --kill-child bash -c '
        mount -t proc proc "$1/proc" && mount --rbind /dev "$1/dev" &&
        exec env -u PIP_FIND_LINKS -u MAKEFLAGS -u ARGS HOME=/root LANG=C.UTF-8 PATH=/usr/local/bin:/usr/bin:/usr/sbin:/bin:/sbin \
            chroot "$1" bash /pythons_inside.sh' - "$root" || die "Cauce does not run on the Python of Debian $release."
    rm -rf "$root/cauce"
    say "Debian $release: $((SECONDS - began)) s"
}

for release in "${releases[@]}"; do try "$release"; done
