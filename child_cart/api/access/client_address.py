"""The address of a client: what limits count by. Every limit asks here, so that all mean the same."""

from __future__ import annotations

from flask import Request


def client_address(request: Request) -> str:
    """Return the client's address, behind a trusted proxy the one that it tells; empty if it is not known."""
    return request.remote_addr or ""
