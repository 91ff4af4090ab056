"""Check that this container's program answers: ``python -m containers.health CART 5001 /`` exits with 1 if not."""

from __future__ import annotations

import http.client
import os
import ssl
import sys
from collections.abc import Mapping, Sequence
from typing import Final

TIMEOUT_S: Final = 4.0


def answers(prefix: str, port: str, path: str, environ: Mapping[str, str]) -> bool:
    """Return whether the program answers a GET with success or a redirect.

    Args:
        prefix: prefix of the program's settings in the environment: ``BRIDGE`` or ``CART``.
        port: the port if the environment sets none.
        path: the path to request.
        environ: the environment.
    """
    port = environ.get(f"{prefix}_PORT") or port
    connection: http.client.HTTPConnection
    if environ.get(f"{prefix}_TLS_CERT"):
        # The certificate has the host's public name, and the server on the loopback is in this container anyway.
        trusting = ssl._create_unverified_context()  # noqa: S323
        connection = http.client.HTTPSConnection("127.0.0.1", int(port), timeout=TIMEOUT_S, context=trusting)
    else:
        connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=TIMEOUT_S)
    try:
        connection.request("GET", path)
        return 200 <= connection.getresponse().status < 400
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def main(argv: Sequence[str]) -> int:
    """Run the command line; return the process's exit status."""
    prefix, port, path = argv
    return 0 if answers(prefix, port, path, os.environ) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
