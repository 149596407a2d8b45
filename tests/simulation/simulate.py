"""`make simulate`: runs seeds and says which of them break a promise, with the command that runs one again.

python tests/simulation/simulate.py --seeds 10000
python tests/simulation/simulate.py --seed 4711        one seed, with its trace
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2])]

import sim_world  # noqa: E402


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
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        seeds = range(given.first, given.first + given.seeds)
        for run in pool.map(sim_world.run, seeds, chunksize=20):
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
