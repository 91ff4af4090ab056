"""Learn in calendar order, with and without rehearsal, beside FedAvg and the bounds, in the laboratory.

All carts see the same month in a round, and one month after the other; models are measured on all months. Prints
the value at the end, its worst cart, and the seconds of a run: means over seeds, and ± half the width of the 95 %
interval. "Months mixed" is what one model reaches with the rows of all carts, drawn from all months in each round.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from statistics import fmean
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lab.config import RunConfig
from lab.runs.compare import interval
from lab.runs.experiment import Experiment
from lab.runs.results import CurvePoint, point_of

Run = tuple[CurvePoint, float]


def ended(**values: Any) -> Run:
    """Carry out a run in memory; return its last point, and the seconds that its rounds took."""
    with Experiment(RunConfig.of(values)) as experiment:
        began = time.perf_counter()
        *_, last = experiment.rounds()
        took_s = time.perf_counter() - began
        return point_of(last, took_s, experiment.metric), took_s


def line(name: str, runs: list[Run], value: str, worst: str = "") -> str:
    """Return a line of the table: these fields of the points."""
    found = interval([getattr(point, value) for point, _ in runs])
    worst_text = f"{fmean(getattr(point, worst) for point, _ in runs):.3f}" if worst else ""
    return f"{name:<26} {found!s:>12} {worst_text:>7} {fmean(took_s for _, took_s in runs):>8.1f}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="shopping", help="a task whose rows have a month (default: %(default)s)")
    parser.add_argument("--carts", default="4,8", metavar="N,N", help="numbers of carts (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=12, help="rounds, of a month each (default: %(default)s)")
    parser.add_argument("--rows", type=int, default=100, help="rows of a cart and round (default: %(default)s)")
    parser.add_argument(
        "--rehearsal", default="90", metavar="N,N", help="rows that are rehearsed (default: %(default)s)"
    )
    parser.add_argument("--seeds", type=int, default=3, help="seeds, from 0 (default: %(default)s)")
    parser.add_argument(
        "--momentum", type=float, default=RunConfig().values()["momentum"], help="of carts (default: %(default)s)"
    )
    given = parser.parse_args()
    for carts in map(int, given.carts.split(",")):

        def runs(carts: int = carts, **values: Any) -> list[Run]:
            same = {"task": given.task, "carts": carts, "rounds": given.rounds, "rows": given.rows}
            return [ended(**{**same, "partition": "months", "seed": seed, **values}) for seed in range(given.seeds)]

        print(f"{f'{carts} carts':<26} {'mean':>12} {'worst':>7} {'run s':>8}", flush=True)
        without = runs(rehearsal_rows=0, momentum=given.momentum)
        print(line("alone", without, "alone", "alone_worst"))
        print(line("one model on all data", without, "all_data"))
        print(line("carts without rehearsal", without, "federated", "federated_worst"))
        print(line("FedAvg", runs(method="fedavg"), "federated", "federated_worst"), flush=True)
        for rows in map(int, given.rehearsal.split(",")):
            for kind, words in (("rows", "old rows"), ("labels", "labelled rows")):
                found = runs(rehearsal=kind, rehearsal_rows=rows, momentum=given.momentum)
                print(line(f"carts with {rows} {words}", found, "federated", "federated_worst"), flush=True)
        print(line("one model, months mixed", runs(partition="iid"), "all_data"), flush=True)


if __name__ == "__main__":
    main()
