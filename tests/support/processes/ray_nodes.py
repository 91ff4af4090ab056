"""A Ray cluster of two nodes with a core each, which listens on 127.0.0.1 alone, until standard input ends.

Prints a line of JSON: the address, and the process id of each node's raylet. Each line of standard input adds a node,
whose raylet is printed too.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any, Final

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # so that Ray takes 127.0.0.1 as it is

SIZE: Final = {"num_cpus": 1, "object_store_memory": 100_000_000}
# A killed node refuses connections, and is dead after three of them. One that is slow has as long as Ray gives it.
SOON: Final = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 3}


def raylet_of(node: Any) -> int:
    """Return the process id of a node's raylet."""
    return int(node.all_processes["raylet"][0].process.pid)


def main() -> None:
    """Run the cluster."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(True, head_node_args={**SIZE, "include_dashboard": False, "_system_config": SOON})
    cluster.add_node(**SIZE)
    cluster.wait_for_nodes()
    raylets = [raylet_of(node) for node in (cluster.head_node, *cluster.worker_nodes)]
    print(json.dumps({"address": cluster.address, "raylets": raylets}), flush=True)
    for _ in sys.stdin:
        print(raylet_of(cluster.add_node(**SIZE)), flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main()
