"""What carts learn together with the settings that users get, beside methods of the literature on equal work.

Prints mean and worst accuracy of the carts on rows that none of them sees, the kilobytes that a cart receives in a
round, how often a cart kept its own model, and how often it kept a mix that gets fewer of the common evaluation rows
right than the model before. FedAvg (McMahan et al., 2017) has a server, Epidemic Learning (de Vos et al., 2023) none;
both have the same rows, trainings and precision. Means over the seeds; worst is the mean of each run's worst cart.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.lab_figures import over_seeds
from child_cart.config import CartSettings

AGGREGATORS = "subset,uniform"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="digits", help="what is learned (default: %(default)s)")
    parser.add_argument("--carts", type=int, default=8, help="carts (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=10, help="rounds (default: %(default)s)")
    parser.add_argument("--partition", default="own", help="which rows a cart gets (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each line (default: %(default)s)")
    parser.add_argument("--aggregators", default=AGGREGATORS, help="names with commas (default: %(default)s)")
    given = parser.parse_args()
    same = {"task": given.task, "carts": given.carts, "rounds": given.rounds, "partition": given.partition}
    clusters = {"topology": f"clusters:{min(CartSettings.cluster_size, given.carts - 1)}"}
    runs: dict[str, dict[str, object]] = {
        f"ours, {name}, momentum {momentum:g}": {**same, **clusters, "aggregator": name, "momentum": momentum}
        for name in given.aggregators.split(",")
        for momentum in dict.fromkeys((CartSettings.momentum, 0.0))
    }
    runs |= {
        "FedAvg": {**same, "method": "fedavg"},
        "Epidemic Learning": {**same, **clusters, "method": "epidemic"},
    }
    print(f"{'':34} {'mean':>6} {'worst':>6} {'KB':>5} {'kept own':>9} {'fewer right':>12}")
    for name, found in zip(runs, over_seeds(list(runs.values()), given.seeds), strict=True):
        print(
            f"{name:34} {found.mean:>6.3f} {found.worst:>6.3f} {found.received_kb:>5.0f} {found.kept_own:>9.1f} "
            f"{found.worse:>12.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
