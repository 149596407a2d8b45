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
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2])]

import sim_world  # noqa: E402

CHUNK = 25


def _without_pauses() -> None:
    gc.freeze()
    gc.disable()


def _run_chunk(seeds: range) -> list[sim_world.Run]:
    found = [sim_world.run(seed) for seed in seeds]
    gc.collect()
    return found


def main() -> int:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1000, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--seed", type=int, help="this one alone, with its trace")
    given = parser.parse_args()
    if given.seed is not None:
        logging.basicConfig(level=logging.INFO, format="         %(name)s: %(message)s")
        found = sim_world.run(given.seed)
        print("\n".join(found.trace))
        print(found)
        return bool(found.broken)
    logging.disable(logging.CRITICAL)
    started, failed, done, steps, inputs, wasted = time.monotonic(), 0, 0, 0, 0, 0
    chunks = [
        range(n, min(n + CHUNK, given.first + given.seeds))
        for n in range(given.first, given.first + given.seeds, CHUNK)
    ]
    with ProcessPoolExecutor(os.cpu_count(), initializer=_without_pauses) as pool:
        for run in itertools.chain.from_iterable(pool.map(_run_chunk, chunks)):
            done, steps, inputs, wasted = done + 1, steps + run.steps, inputs + run.inputs, wasted + run.wasted
            if run.broken:
                failed += 1
                print(f"seed {run.seed}: {'; '.join(run.broken[:3])[:400]}", flush=True)
            if done % 1000 == 0:
                print(f"{done} seeds, {failed} failed, {time.monotonic() - started:.0f} s", flush=True)
    seconds = time.monotonic() - started
    print(
        f"{done} seeds in {seconds:.1f} s: {failed} failed. {inputs} inputs, {steps} steps, {wasted} model calls again."
    )
    if failed:
        print("Run one again with: python tests/simulation/simulate.py --seed N")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
