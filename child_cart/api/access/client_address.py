"""Whose a request is, for limits and log lines."""

from __future__ import annotations

from flask import Request


def client_address(request: Request) -> str:
    """Return the address of the client that sent this request; behind a trusted proxy it is the one that this tells."""
    return request.remote_addr or ""
