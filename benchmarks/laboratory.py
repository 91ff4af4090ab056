"""Run digits in the laboratory with more and more carts, each number in a process of its own.

Prints seconds, carts x rounds a second of the clock and of processor time, and the peak of the process's memory. The
first round compiles the programs of the model; it is left out of both rates where there are more rounds.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lab.config import RunConfig
from lab.runs.experiment import Experiment


def measured(carts: int, rounds: int) -> dict[str, float]:
    """Run once in this process; return seconds and peak kilobytes."""
    began = time.perf_counter()
    with Experiment(RunConfig.of({"carts": carts, "rounds": rounds})) as experiment:
        start_s = time.perf_counter() - began
        ends = [(time.perf_counter(), time.process_time())]
        ends += [(time.perf_counter(), time.process_time()) for _ in experiment.rounds()]
    counted = ends[1:] if rounds > 1 else ends
    clock_s, processor_s = (counted[-1][kind] - counted[0][kind] for kind in (0, 1))
    done = carts * (len(counted) - 1)
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "start_s": start_s,
        "all_s": ends[-1][0] - began,
        "rate": done / clock_s,
        "processor_rate": done / processor_s,
        "peak_kb": peak_kb,
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--carts", default="10,100", metavar="N,N", help="numbers of carts (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each (default: %(default)s)")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measured(given.one, given.rounds)))
        return
    print(
        f"{'carts':>7} {'rounds':>7} {'start s':>8} {'all s':>8} {'carts x rounds/s':>17} {'/processor s':>13} "
        f"{'peak MB':>8}"
    )
    for carts in map(int, given.carts.split(",")):
        command = [sys.executable, __file__, "--one", str(carts), "--rounds", str(given.rounds)]
        ended = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        found = json.loads(ended.stdout)
        print(
            f"{carts:>7,} {given.rounds:>7} {found['start_s']:>8.1f} {found['all_s']:>8.1f} {found['rate']:>17,.0f} "
            f"{found['processor_rate']:>13,.0f} {found['peak_kb'] / 1024:>8,.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
