"""Keeps pages of other sites from acting on a cart through the browser of its user."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from flask import abort, current_app, request

from cart_common.process.host_names import is_own_name, name_in

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
    """Return a check that refuses requests for a host name that is not this cart's."""

    def check() -> None:
        name = name_in(request.host)
        if not is_own_name(name, known_hosts):
            abort(
                403, f"This cart does not answer to the name {name[:100]!r}. Add the name to --page-hosts to allow it."
            )

    return check


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
