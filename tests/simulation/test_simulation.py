"""The promises of the pipeline under random schedules of faults, and that the simulation would notice."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import sim_bugs

SIMULATE = Path(__file__).parent / "simulate.py"
SEEDS = 500
"""`make simulate` runs more."""
ENOUGH = 5000
"""Seeds within which every deliberate bug is noticed; docs/reliability.md has the numbers."""
NEAR = {
    "acknowledgements_waited_for_without_end": 600,
    "silence_is_taken_for_the_end": 1125,
    "completed_records_far_above_leave_no_room": 300,
    "slot_resumed_unseen": 5950,
}
"""Where the search for a rare one begins: a little below the seed that noticed it last. A wrong number costs time only."""


def simulate(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SIMULATE), *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=2400,  # on a machine that has other things to do
    )


def test_every_promise_holds_whatever_dies_freezes_or_gets_lost() -> None:
    done = simulate("--seeds", str(SEEDS))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{SEEDS:,} seeds" in done.stdout
    assert ": 0 failed" in done.stdout


def test_a_seed_gives_the_same_run_byte_for_byte_in_another_process() -> None:
    runs = [simulate("--seed", "47", PYTHONHASHSEED=seed) for seed in ("1", "2")]
    digests = [run.stdout.partition("digest=")[2] for run in runs]
    assert digests[0]
    assert digests[0] == digests[1]


@pytest.mark.parametrize("bug", sim_bugs.BUGS)
def test_a_deliberate_bug_is_noticed(bug: str) -> None:
    done = simulate("--bug", bug, "--first", str(NEAR.get(bug, 0)), "--seeds", str(ENOUGH))
    assert done.returncode == 1, f"nobody noticed: {sim_bugs.BUGS[bug].__doc__}\n{done.stdout}{done.stderr}"
    assert "noticed after" in done.stdout
