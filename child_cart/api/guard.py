"""Keeps other sites' pages from acting on a cart through its user's browser."""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import abort, request


def refuse_foreign_origin() -> None:
    """Refuse requests that change something and come from a page of another origin.

    Browsers name the origin of such requests; programs that are no browsers name none and are let through. JSON alone
    is taken as a body, so that a plain HTML form of another site cannot speak to the API either.
    """
    if request.method in ("GET", "HEAD", "OPTIONS"):
        return
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc != request.host:
        abort(403, f"Requests from pages of {origin[:100]} are not taken.")
    if request.content_length and not request.is_json:
        abort(415, "Send the request's body as application/json.")
