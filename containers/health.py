"""Say whether the program of this container answers: ``python -m containers.health CART 5001 /``. Status 1 if not."""

from __future__ import annotations

import http.client
import os
import ssl
import sys
from collections.abc import Mapping, Sequence
from typing import Final

TIMEOUT_S: Final = 4.0


def answers(prefix: str, port: str, path: str, environ: Mapping[str, str]) -> bool:
    """Return whether a GET is answered with success.

    Args:
        prefix: of the program's settings in the environment, which say where it listens.
        port: the one that it has by default.
        path: what to ask for.
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
    """Return the process's exit status."""
    prefix, port, path = argv
    return 0 if answers(prefix, port, path, os.environ) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
