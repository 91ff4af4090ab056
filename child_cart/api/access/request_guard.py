"""Keeps pages of other sites from acting on a cart through the browser of its user."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Final, TypeVar
from urllib.parse import urlsplit

from flask import abort, current_app, request

View = TypeVar("View", bound=Callable[..., object])

FORM_TYPES: Final = frozenset({"", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"})
"""Body types that a page of another site can send without a CORS preflight; never accepted."""


def takes(*types: str) -> Callable[[View], View]:
    """Mark a view as accepting bodies of these types instead of JSON."""
    if FORM_TYPES & set(types):
        raise ValueError(f"a form of another site could send one of {types}")

    def marked(view: View) -> View:
        view.body_types = types  # type: ignore[attr-defined]
        return view

    return marked


def takes_form(view: View) -> View:
    """Mark a view as accepting a form of the cart's own pages; its CSRF token is checked before the view runs."""
    view.is_form = True  # type: ignore[attr-defined]
    return view


def refuse_foreign_host(known_hosts: frozenset[str]) -> Callable[[], None]:
    """Return a check that refuses requests for a host name that is not this cart's.

    The owner of another name can point it at this address (DNS rebinding), and their page then has the same origin as
    ours. Addresses cannot be pointed anywhere, so they are allowed, as are localhost and the known names.
    """

    def check() -> None:
        try:
            name = (urlsplit(f"//{request.host}").hostname or "").lower()
        except ValueError:
            name = ""
        if name != "localhost" and name not in known_hosts and not _is_address(name):
            abort(
                403, f"This cart does not answer to the name {name[:100]!r}. Add the name to --page-hosts to allow it."
            )

    return check


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def refuse_foreign_origin() -> None:
    """Refuse requests that change something and come from a page of another origin.

    Browsers send the origin with such requests. Other programs send none and are allowed. A body must be JSON, or of a
    type that the view accepts, so that a plain HTML form of another site cannot use the API either.
    """
    if request.method in ("GET", "HEAD", "OPTIONS"):
        return
    origin = request.headers.get("Origin")
    if origin is not None and origin.partition("://")[2] != request.host:
        abort(403, f"Requests from pages of {origin[:100]} are not taken.")
    view = current_app.view_functions.get(request.endpoint or "")
    if getattr(view, "is_form", False):
        return
    types: tuple[str, ...] = getattr(view, "body_types", ())
    if types and request.mimetype not in types:
        abort(415, f"Send the request's body as {' or '.join(types)}.")
    if not types and request.content_length and not request.is_json:
        abort(415, "Send the request's body as application/json.")
