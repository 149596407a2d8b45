"""The short chaos run: every crash point of the commit path at least once, and a minute of other faults, on real servers."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

from chaos_embedded import KINDS
from chaos_worker import POINTS

SECONDS = 120


def test_nothing_is_lost_doubled_or_repeated_whatever_dies_or_freezes(tmp_path: Path) -> None:
    told = chaos(tmp_path, "--seconds", str(SECONDS))
    for points in POINTS.values():
        for point in points:
            assert f"| crash: {point} |" in told, f"no worker died at {point}\n{told}"


def test_the_embedded_system_keeps_its_promises_when_it_is_killed_torn_or_out_of_space(tmp_path: Path) -> None:
    told = chaos(tmp_path, "--embedded", "--seconds", "0")
    assert all(f"| {kind} |" in told for kind in KINDS), told


def chaos(folder: Path, *arguments: str) -> str:
    """The report of a run in which everything held; how soon things recover is for `make chaos` to say."""
    command = [sys.executable, str(Path(__file__).parent / "chaos.py"), "--keep", str(folder / "chaos")]
    seed = str(random.randrange(1_000_000))
    with subprocess.Popen(
        [*command, "--seed", seed, "--patient", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as ran:
        try:
            told, errors = ran.communicate(timeout=3000)
        except BaseException:
            os.killpg(ran.pid, signal.SIGKILL)  # its workers, too: it stops them itself where it comes to its end
            raise
    assert ran.returncode == 0, f"{told[-6000:]}\n{errors[-3000:]}"
    assert (folder / "chaos" / "chaos.svg").stat().st_size > 1000
    return told
