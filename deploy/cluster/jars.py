"""The jars of a server: fetched once with Maven into a folder named after the hash of the pom."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from deploy.cluster.errors import ClusterError, last_lines
from deploy.cluster.java import find_java, find_maven

_ROOT = Path(__file__).resolve().parents[2]


def cache_folder() -> Path:
    """The folder for jars: CAUCE_CLUSTER_CACHE, otherwise `var/cluster-cache` in the repository."""
    return Path(os.environ.get("CAUCE_CLUSTER_CACHE") or _ROOT / "var" / "cluster-cache").resolve()


def fetch_jars(pom: Path) -> Path:
    """The folder that holds every jar that `pom` depends on.

    The first call for a pom runs Maven, and other processes that need the same pom wait for it; later calls
    only look up the folder. A changed pom gets another folder, so that running servers keep theirs.

    Raises:
        ClusterError: Java or Maven is missing, or Maven could not fetch the jars.
    """
    name = pom.parent.name
    jars = cache_folder() / f"{name}-{hashlib.sha256(pom.read_bytes()).hexdigest()[:12]}"
    if jars.is_dir():
        return jars
    jars.parent.mkdir(parents=True, exist_ok=True)
    with jars.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not jars.is_dir():
            sys.stderr.write(f"Fetching the jars of {name} with Maven, once ...\n")
            incomplete = jars.with_suffix(".incomplete")
            shutil.rmtree(incomplete, ignore_errors=True)
            _copy_dependencies(pom, incomplete)
            incomplete.rename(jars)
    return jars


def _copy_dependencies(pom: Path, folder: Path) -> None:
    command = [
        str(find_maven()),
        *("--batch-mode", "--quiet", "--strict-checksums", "--file", str(pom)),
        "-Dmaven.wagon.http.retryHandler.count=3",
        f"-DoutputDirectory={folder}",
        "dependency:copy-dependencies",
    ]
    run = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "JAVA_HOME": str(find_java().resolve().parents[1])},
        check=False,
    )
    if run.returncode != 0 or not any(folder.glob("*.jar")):
        raise ClusterError(
            f"Maven could not fetch the dependencies of {pom} (exit code {run.returncode}):\n{last_lines(run.stdout)}\n"
            "Check that Maven reaches its repository (mirrors and proxies: ~/.m2/settings.xml) and try again."
        )
