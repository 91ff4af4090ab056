"""A Ray cluster of two nodes with a core each, which listens on 127.0.0.1 alone, until standard input ends.

Prints a line of JSON: the address, and the process id of each node's raylet.
"""

from __future__ import annotations

import json
import os
import sys

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # so that Ray takes 127.0.0.1 as it is


def main() -> None:
    """Run the cluster."""
    from ray.cluster_utils import Cluster

    size = {"num_cpus": 1, "object_store_memory": 100_000_000}
    cluster = Cluster(True, head_node_args={**size, "include_dashboard": False})
    cluster.add_node(**size)
    cluster.wait_for_nodes()
    raylets = [node.all_processes["raylet"][0].process.pid for node in (cluster.head_node, *cluster.worker_nodes)]
    print(json.dumps({"address": cluster.address, "raylets": raylets}), flush=True)
    sys.stdin.read()
    cluster.shutdown()


if __name__ == "__main__":
    main()
