"""Finds Java and Maven, and installs them if they are missing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from deploy.cluster.errors import ClusterError, last_lines

# Kafka 4 needs 17. Cassandra 5 starts a security manager, which Java 24 no longer has (JEP 486).
OLDEST, NEWEST = 17, 23
_JDK_PACKAGES = ("openjdk-17-jdk-headless", "openjdk-21-jdk-headless", "default-jdk-headless")


def java_version(printed: str) -> int | None:
    """The feature release that `java -version` printed: 17 for "17.0.15", 8 for "1.8.0_412"; otherwise None."""
    found = re.search(r'version "(?:1\.)?(\d+)', printed)
    return int(found.group(1)) if found else None


@cache
def find_java() -> Path:
    """The `java` program for the servers, from JAVA_HOME, PATH or the system's folders.

    Installs one with apt if there is none and this process is allowed to (root on Debian or Ubuntu).

    Raises:
        ClusterError: there is no suitable Java and it cannot be installed here.
    """
    java, seen = _suitable_java()
    if java is None and _may_use_apt():
        _apt_install(next((name for name in _JDK_PACKAGES if _apt_knows(name)), _JDK_PACKAGES[-1]))
        java, seen = _suitable_java()
    if java is None:
        found = ", ".join(seen) or "none"
        raise ClusterError(
            f"Apache Kafka and Cassandra need a JDK of version {OLDEST} to {NEWEST}; found here: {found}.\n"
            f"Install one and try again, on Debian: apt-get install {_JDK_PACKAGES[0]} "
            "(elsewhere: set JAVA_HOME to its folder)."
        )
    return java


@cache
def find_maven() -> Path:
    """The `mvn` program; installs it with apt if it is missing and this process is allowed to.

    Raises:
        ClusterError: there is none and it cannot be installed here.
    """
    if shutil.which("mvn") is None and _may_use_apt():
        _apt_install("maven")
    maven = shutil.which("mvn")
    if maven is None:
        raise ClusterError(
            "Apache Maven fetches the jars of Kafka and Cassandra, and there is no `mvn` on PATH.\n"
            "Install it and try again, on Debian: apt-get install maven"
        )
    return Path(maven)


def _suitable_java() -> tuple[Path | None, list[str]]:
    seen: list[str] = []
    for java in _javas():
        version = _version_of(java)
        if version is not None and OLDEST <= version <= NEWEST:
            return java, seen
        seen.append(f"{java} (version {version or 'unknown'})")
    return None, seen


def _javas() -> Iterator[Path]:
    home = os.environ.get("JAVA_HOME")
    if home and (java := Path(home, "bin", "java")).is_file():
        yield java
    if on_path := shutil.which("java"):
        yield Path(on_path)
    yield from sorted(Path("/usr/lib/jvm").glob("*/bin/java"))


def _version_of(java: Path) -> int | None:
    try:
        run = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return java_version(run.stderr)


def _may_use_apt() -> bool:
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def _apt_knows(package: str) -> bool:
    _apt_update()
    run = subprocess.run(["apt-cache", "show", package], capture_output=True, check=False)
    return run.returncode == 0


@cache
def _apt_update() -> None:
    _apt("update")


def _apt_install(package: str) -> None:
    sys.stderr.write(f"Installing {package} with apt-get ...\n")
    _apt_update()
    _apt("install", "--yes", "--no-install-recommends", package)


def _apt(*arguments: str) -> None:
    command = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300", *arguments]
    run = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        check=False,
    )
    if run.returncode != 0:
        raise ClusterError(
            f"`{' '.join(command)}` failed with exit code {run.returncode}:\n{last_lines(run.stdout)}\n"
            f"Install {_JDK_PACKAGES[0]} and maven yourself and try again."
        )
