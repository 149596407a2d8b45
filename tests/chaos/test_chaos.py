"""The short chaos run: every crash point of the commit path at least once, and a minute of other faults, on real servers."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

from chaos_worker import POINTS

SECONDS = 120


def test_nothing_is_lost_doubled_or_repeated_whatever_dies_or_freezes(tmp_path: Path) -> None:
    seed = random.randrange(1_000_000)
    command = [sys.executable, str(Path(__file__).parent / "chaos.py"), "--keep", str(tmp_path / "chaos")]
    ran = subprocess.run(
        [*command, "--seconds", str(SECONDS), "--seed", str(seed)], capture_output=True, text=True, timeout=900
    )
    told = f"{ran.stdout[-6000:]}\n{ran.stderr[-3000:]}"
    assert ran.returncode == 0, told
    for points in POINTS.values():
        for point in points:
            assert f"| crash: {point} |" in ran.stdout, f"no worker died at {point}\n{told}"
    assert (tmp_path / "chaos" / "chaos.svg").stat().st_size > 1000
