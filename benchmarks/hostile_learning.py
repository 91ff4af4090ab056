"""What honest carts learn while one in four is hostile, beside what they learn without these.

Each line is an attack of the laboratory. `absent` is the same fleet without the hostile carts: what there is to reach.
Prints mean and worst accuracy of the honest carts on rows that none of them sees, and the difference of the mean from
`absent` in points. Means over the seeds; worst is the mean of each run's worst cart.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.lab_figures import over_seeds
from child_cart.config import CartSettings
from lab.config import HOSTILE_KINDS


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="digits", help="what is learned (default: %(default)s)")
    parser.add_argument("--carts", type=int, default=8, help="carts, of which a quarter is hostile (default: 8)")
    parser.add_argument("--rounds", type=int, default=10, help="rounds (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each line (default: %(default)s)")
    parser.add_argument("--attacks", default=",".join(HOSTILE_KINDS), help="names with commas (default: all)")
    parser.add_argument(
        "--aggregator", default=CartSettings.aggregator, help="how models are mixed (default: %(default)s)"
    )
    given = parser.parse_args()
    same = {
        "task": given.task,
        "carts": given.carts,
        "rounds": given.rounds,
        "partition": "own",
        "aggregator": given.aggregator,
        "topology": f"clusters:{min(CartSettings.cluster_size, given.carts - 1)}",
    }
    attacks = list(dict.fromkeys(("absent", *given.attacks.split(","))))
    found = over_seeds([{**same, "hostile": f"0.25:{attack}"} for attack in attacks], given.seeds)
    print(f"{'':14} {'mean':>6} {'worst':>6} {'points':>7} {'kept own':>9}")
    reachable = None
    for attack, figures in zip(attacks, found, strict=True):
        reachable = figures.mean if reachable is None else reachable
        points = 100 * (figures.mean - reachable)
        print(
            f"{attack:14} {figures.mean:>6.3f} {figures.worst:>6.3f} {points:>+7.1f} {figures.kept_own:>9.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
