"""FedAvg in Flower's simulation, on work that ``lab_against_flower.py`` has written. Needs ``flwr[simulation]`` alone.

Prints one line of JSON: seconds of the rounds, and the accuracy of the last model.
"""

from __future__ import annotations

import json
import os
import sys
import time
from functools import cache
from typing import Any, Final

import numpy as np
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from numpy_network import NumpyNetwork

WORK: Final = "LAB_FLOWER_WORK"
client_app = ClientApp()
server_app = ServerApp()
results: dict[str, Any] = {"times": []}


@cache
def work() -> dict[str, Any]:
    """Return the work; a process of Ray reads it once, and its rows as they are used."""
    folder = os.environ[WORK]
    names = ("inputs", "targets", "test_inputs", "test_targets")
    arrays: dict[str, Any] = {name: np.load(f"{folder}/{name}.npy", mmap_mode="r") for name in names}
    with open(f"{folder}/work.json", encoding="utf-8") as file:
        return {**arrays, **json.load(file)}


@cache
def network() -> NumpyNetwork:
    """Return this process's network."""
    with np.load(f"{os.environ[WORK]}/start.npz") as found:
        return NumpyNetwork([found[name] for name in found.files], **work()["training"])


@client_app.train()
def train(message: Message, context: Context) -> Message:
    """Train the server's model on this client's rows of the round."""
    number, client = int(message.content["config"]["server-round"]), int(context.node_config["partition-id"])
    model, given = network(), work()
    model.set_weights(message.content["arrays"].to_numpy_ndarrays())
    inputs, targets = np.array(given["inputs"][number - 1, client]), np.array(given["targets"][number - 1, client])
    model.train(inputs, targets, lambda *_: None)
    content = {"arrays": ArrayRecord(model.weights()), "metrics": MetricRecord({"num-examples": len(targets)})}
    return Message(content=RecordDict(content), reply_to=message)


@server_app.main()
def serve(grid: Grid, context: Context) -> None:
    """Average the models of all clients, round by round."""
    strategy = FedAvg(fraction_train=1.0, fraction_evaluate=0.0, min_available_nodes=work()["carts"])
    strategy.start(
        grid=grid,
        initial_arrays=ArrayRecord(network().weights()),
        num_rounds=work()["rounds"],
        timeout=36_000,
        evaluate_fn=evaluate,
    )


def evaluate(number: int, arrays: ArrayRecord) -> MetricRecord:
    """Measure a model on the rows that no client sees; called before the first round, and after each."""
    model, given = network(), work()
    model.set_weights(arrays.to_numpy_ndarrays())
    right = (model.predict(given["test_inputs"]).argmax(axis=1) == given["test_targets"]).mean()
    results["times"].append(time.perf_counter())
    results["accuracy"] = float(right)
    return MetricRecord({"accuracy": float(right)})


def main() -> None:
    """Run the simulation; print the result."""
    cores = os.cpu_count() or 1
    backend = {
        "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
        # A cluster of its own, whatever else runs on this machine, on the loopback address.
        "init_args": {
            "address": "local",
            "num_cpus": cores,
            "include_dashboard": False,
            "_node_ip_address": "127.0.0.1",
        },
    }
    run_simulation(server_app, client_app, work()["carts"], "ray", backend)
    times = results["times"]
    print(json.dumps({"rounds_s": times[-1] - times[0], "rounds": len(times) - 1, "accuracy": results["accuracy"]}))


if __name__ == "__main__":
    import flower_app  # so that processes of Ray import it, rather than get copies

    flower_app.main()
