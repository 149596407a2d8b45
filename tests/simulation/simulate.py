"""`make simulate`: runs seeds and says which of them break a promise, with the command that runs one again.

python tests/simulation/simulate.py --seeds 10000
python tests/simulation/simulate.py --seed 4711        one seed, with its trace
"""

from __future__ import annotations

import argparse
import gc
import itertools
import logging
import os
import sys
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2])]

import sim_bugs  # noqa: E402
import sim_world  # noqa: E402

CHUNK = 25


def without_pauses() -> None:
    """Makes a process fit for many seeds, and for nothing else: no pauses for garbage, and no log."""
    gc.freeze()
    gc.disable()
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")  # coroutines of killed workers are never awaited


def _run_chunk(seeds: range, bug: str | None = None) -> list[sim_world.Run]:
    found = list[sim_world.Run]()
    with sim_bugs.with_bug(bug):
        for seed in seeds:
            found.append(sim_world.run(seed))
            if bug and found[-1].broken:
                break
    gc.collect()
    return found


def _chunks(first: int, count: int) -> list[range]:
    return [range(n, min(n + CHUNK, first + count)) for n in range(first, first + count, CHUNK)]


def one(seed: int, bug: str | None) -> int:
    """Runs a seed with its trace."""
    logging.basicConfig(level=logging.INFO, format="         %(name)s: %(message)s")
    with sim_bugs.with_bug(bug):
        found = sim_world.run(seed)
    print("\n".join(found.trace))
    print(found)
    return bool(found.broken)


def many(first: int, count: int) -> int:
    """Runs seeds on all processors."""
    started, failed, done, steps, inputs, wasted = time.monotonic(), 0, 0, 0, 0, 0
    with ProcessPoolExecutor(os.cpu_count(), initializer=without_pauses) as pool:
        for run in itertools.chain.from_iterable(pool.map(_run_chunk, _chunks(first, count))):
            done, steps, inputs, wasted = done + 1, steps + run.steps, inputs + run.inputs, wasted + run.wasted
            if run.broken:
                failed += 1
                print(f"seed {run.seed}: {'; '.join(run.broken[:3])[:400]}", flush=True)
            if done % 1000 == 0:
                print(f"{done:,} seeds, {failed} failed, {time.monotonic() - started:.0f} s", flush=True)
    seconds = time.monotonic() - started
    print(
        f"{done:,} seeds in {seconds:.0f} s: {failed} failed. {inputs:,} inputs, {steps:,} steps, "
        f"{wasted:,} model calls made again."
    )
    if failed:
        print("Run one again with: python tests/simulation/simulate.py --seed N")
    return failed > 0


def catch(bug: str, count: int, first: int = 0) -> tuple[int, str] | None:
    """How many seeds it took to notice the bug, and what was noticed first."""
    for seeds in _chunks(first, count):
        if (last := _run_chunk(seeds, bug)[-1]).broken:
            return last.seed + 1 - first, last.broken[0]
    return None


def table(count: int) -> int:
    """Prints the table of deliberate bugs for docs/reliability.md."""
    print("| deliberate bug | seeds until noticed | what was noticed first |\n|---|---|---|")
    missed = 0
    with ProcessPoolExecutor(os.cpu_count(), initializer=without_pauses) as pool:
        for bug, found in zip(sim_bugs.BUGS, pool.map(catch, sim_bugs.BUGS, itertools.repeat(count)), strict=True):
            seeds, words = found or ("**not noticed**", "")
            missed += found is None
            print(f"| {' '.join((sim_bugs.BUGS[bug].__doc__ or '').split())} | {seeds} | {words[:110]} |", flush=True)
    return missed > 0


def main() -> int:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10_000, help="how many (10000)")
    parser.add_argument("--first", type=int, default=0, help="the first of them (0)")
    parser.add_argument("--seed", type=int, help="this one alone, with its trace")
    parser.add_argument(
        "--bug", choices=sim_bugs.BUGS, help="the product with this bug: how many seeds until it is noticed"
    )
    parser.add_argument("--bugs", action="store_true", help="how many seeds each deliberate bug takes, as a table")
    given = parser.parse_args()
    if given.seed is not None:
        return one(given.seed, given.bug)
    if given.bug:
        without_pauses()
        found = catch(given.bug, given.seeds, given.first)
        print(f"noticed after {found[0]} seeds: {found[1]}" if found else f"not noticed in {given.seeds} seeds")
        return found is not None
    if given.bugs:
        return table(given.seeds)
    return many(given.first, given.seeds)


if __name__ == "__main__":
    sys.exit(main())
