"""Join a Ray cluster, or start one on this machine that listens on its loopback address alone."""

from __future__ import annotations

import logging
import os
import socket
import sys
from typing import Any, Final

from cart_common.process.errors import UserError
from cart_common.process.settings import SettingError

from ..packages import needed

LOOPBACK: Final = "127.0.0.1"
CONNECT_S: Final = 10
# RFC 9113, section 3.4: what a client of HTTP/2 begins with, and the frame by which a server must answer.
PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
SETTINGS: Final = 4


class ClusterLostError(UserError):
    """Nothing is left of a cluster that computes; the message says how to go on."""


def joined(address: str) -> tuple[Any, bool]:
    """Return the module ``ray``, connected, and whether this call has connected it.

    Args:
        address: of a cluster, as ``HOST:PORT``; empty for a new one with the cores of this machine.

    Raises:
        SettingError: if Ray is not installed, or the cluster does not answer.
    """
    # Ray would report its use to its makers.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if not address or address.startswith(f"{LOOPBACK}:"):
        # Without this, Ray takes the machine's own address for 127.0.0.1, and listens on all of them.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    ray = needed("ray", "--engine ray", "ray")
    if ray.is_initialized():
        return ray, False
    options: dict[str, Any] = {"address": address}
    if not address:
        options = {"address": "local", "_node_ip_address": LOOPBACK, "include_dashboard": False}
    else:
        _check_that_it_answers(address)
    paths = os.pathsep.join([os.getcwd(), *filter(None, sys.path)])
    try:
        ray.init(
            **options,
            log_to_driver=False,
            logging_level=logging.ERROR,
            # Workers on this machine find the modules that this process finds.
            runtime_env={"env_vars": {"PYTHONPATH": paths, "TF_CPP_MIN_LOG_LEVEL": "3"}},
        )
    except (OSError, RuntimeError, ValueError) as error:
        raise _no_cluster(address, error) from None
    return ray, True


def _check_that_it_answers(address: str) -> None:
    """Raise ``SettingError`` if nothing there answers as Ray does, by gRPC: Ray itself would try for many minutes."""
    host, colon, port = address.rpartition(":")
    if not (host and colon and port.isdigit()):
        raise SettingError(f"--ray-address is {address!r}; it must be HOST:PORT, as ray start --head has printed it.")
    try:
        with socket.create_connection((host, int(port)), CONNECT_S) as connection:
            connection.sendall(PREFACE)
            answer = connection.makefile("rb").read(4)
    except (OSError, OverflowError) as error:
        raise _no_cluster(address, error) from None
    if answer[3:] != bytes((SETTINGS,)):
        raise _no_cluster(address, ConnectionError("another program listens there"))


def _no_cluster(address: str, error: Exception) -> SettingError:
    if not address:
        return SettingError(f"--engine ray cannot start a Ray cluster on this machine: {first_line(error)}.")
    return SettingError(
        f"--ray-address is {address!r}, and no Ray cluster can be used there: {first_line(error)}. This machine must "
        f"be part of the cluster, by ray start --address={address}."
    )


def cores_by_node(ray: Any) -> dict[str, int]:
    """Return the cores of each machine of the cluster that has any, by the identifier of its node."""
    nodes = (node for node in ray.nodes() if node["Alive"])
    cores = {node["NodeID"]: int(node["Resources"].get("CPU", 0)) for node in nodes}
    return {node: count for node, count in cores.items() if count}


def first_line(error: Exception) -> str:
    """Return the first line of what Ray says: it explains at length."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(".")
