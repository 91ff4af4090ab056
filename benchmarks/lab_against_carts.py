"""Real carts beside simulated ones: the same rows in the same rounds, verdicts and accuracy side by side.

A bridge and some real carts run as processes. In each round every cart gets, over its API, the rows that the simulated
cart of its number gets in the laboratory. Both are measured on the same rows that no cart sees. The laboratory runs the
same with several seeds of who meets whom, so that its own spread stands beside the difference.

Real carts train with TensorFlow and simulated ones with JAX, from the same starting weights; who meets whom is drawn
anew.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.cart_process import PATIENCE_S, MeasuredCart
from benchmarks.machine import bridge_process
from demo.references import kept_by
from lab.config import RunConfig
from lab.runs.experiment import Experiment
from lab.runs.references import test_values


@dataclass(frozen=True)
class RoundFigures:
    """One round of all carts."""

    accuracies: Sequence[float]
    asked: int
    accepted: int
    received_bytes: int

    @property
    def line(self) -> str:
        """The figures as text."""
        mean, worst = statistics.fmean(self.accuracies), min(self.accuracies)
        kilobytes = self.received_bytes / len(self.accuracies) / 1000
        return f"{mean:8.3f} {worst:7.3f} {self.accepted:>5}/{self.asked:<4} {kilobytes:7.0f}"


class Measurer:
    """Measures weights on the rows that no cart sees, and says which rows a cart gets."""

    def __init__(self, config: RunConfig) -> None:
        self.experiment = Experiment(config)

    def accuracy(self, folder: Path) -> float:
        """Return the accuracy of a real cart's newest model."""
        kept = kept_by(folder, [])
        weights = kept.weights(kept.ended)
        if weights is None:
            raise SystemExit(f"The cart in {folder} has no model.")
        return test_values(self.experiment.engine, self.experiment.data, [weights])[0]


def simulated(config: RunConfig) -> Iterator[RoundFigures]:
    """Give the rounds of simulated carts."""
    with Experiment(config) as experiment:
        for result in experiment.rounds():
            yield RoundFigures(
                [cart.test_value for cart in result.carts],
                sum(cart.asked for cart in result.carts),
                sum(cart.accepted for cart in result.carts),
                sum(cart.received_bytes for cart in result.carts),
            )


def real(config: RunConfig, measurer: Measurer, cluster_size: int, folder: Path) -> Iterator[RoundFigures]:
    """Give the rounds of real carts."""
    lab = config.lab
    with ExitStack() as stack:
        _, port = stack.enter_context(bridge_process())
        flags = ["--task", lab.task, "--starter-rows", "0", "--dataset-size", "10000"]
        flags += ["--cluster-size", str(cluster_size), "--trainer-idle-s", "3600", "--give-again-s", "0"]
        flags += [
            "--aggregator",
            config.cart_settings(cluster_size).aggregator,
            "--answer-timeout-s",
            "120",
            "--join-wait-s",
            "60",
        ]
        folders = [folder / f"cart-{number}" for number in range(lab.carts)]
        carts = [stack.enter_context(MeasuredCart(one, *flags, bridge=f"ws://127.0.0.1:{port}")) for one in folders]
        for cart in carts:
            cart.wait_for(lambda status: status["stage"] == "SERVING" and status["link"]["state"] == "ATTACHED")
        for number in range(1, lab.rounds + 1):
            for cart, rows in zip(carts, _rows(measurer, lab.carts, number), strict=True):
                cart.ask("POST", "/api/rows", {"rows": rows, "batch_id": f"round-{number}"})
            # All at once: a cart that has not begun to train would give the others a model of the round before.
            with ThreadPoolExecutor(len(carts)) as pool:
                list(pool.map(lambda cart: cart.ask("POST", "/api/train"), carts))
            verdicts = [verdict for cart in carts for verdict in _verdicts(cart, number)]
            yield RoundFigures(
                [measurer.accuracy(one) for one in folders],
                len(verdicts),
                sum(verdict["reason"] == "ACCEPTED" for verdict in verdicts),
                sum(verdict["payload_bytes"] or 0 for verdict in verdicts),
            )


def _rows(measurer: Measurer, carts: int, number: int) -> list[list[dict[str, object]]]:
    return [measurer.experiment.data.rows_of(cart, number) for cart in range(carts)]


def _verdicts(cart: MeasuredCart, number: int) -> list[dict[str, object]]:
    """Wait until a cart has ended the round of this number; return its verdicts."""
    give_up_at = time.monotonic() + PATIENCE_S
    while time.monotonic() < give_up_at:
        newest = cart.ask("GET", "/api/rounds?limit=1")["rounds"]
        if newest and newest[0]["number"] == number and newest[0]["outcome"]:
            if newest[0]["outcome"] != "AGGREGATED":
                print(f"cart on port {cart.port}: {newest[0]['outcome']}. {newest[0]['sentence']}")
            return list(newest[0]["verdicts"])
        time.sleep(0.2)
    raise SystemExit(f"Round {number} did not end within {PATIENCE_S:g} s.")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="digits", help="what is learned")
    parser.add_argument("--carts", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--rows", type=int, default=30, help="rows a cart and round")
    parser.add_argument("--cluster", type=int, default=3, help="peers that a cart asks in a round")
    parser.add_argument("--seeds", type=int, default=5, help="simulations, with one seed each")
    options = parser.parse_args()

    def config(seed: int) -> RunConfig:
        names = ("task", "carts", "rounds", "rows")
        topology = f"clusters:{options.cluster}"
        return RunConfig.of({**{n: getattr(options, n) for n in names}, "topology": topology, "seed": seed})

    runs = [list(simulated(config(seed))) for seed in range(options.seeds)]
    print("            real carts: accuracy             simulated, seed 0")
    print("round     mean   worst   taken     KB       mean   worst   taken     KB")
    last = None
    with tempfile.TemporaryDirectory() as folder:
        measurer = Measurer(config(0))
        for number, (one, other) in enumerate(
            zip(real(config(0), measurer, options.cluster, Path(folder)), runs[0], strict=True), 1
        ):
            print(f"{number:>5} {one.line}   {other.line}", flush=True)
            last = one
        measurer.experiment.close()
    assert last is not None
    ends = [statistics.fmean(run[-1].accuracies) for run in runs]
    mean = statistics.fmean(last.accuracies)
    print(
        f"at the end: real {mean:.3f}; simulated, {len(ends)} seeds: {statistics.fmean(ends):.3f} "
        f"({min(ends):.3f} to {max(ends):.3f}); real - simulated {100 * (mean - statistics.fmean(ends)):+.1f} points"
    )


if __name__ == "__main__":
    main()
