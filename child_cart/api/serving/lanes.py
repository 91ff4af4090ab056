"""Which threads answer a request: what may take seconds has threads of its own, so that the shop never waits for it."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final, TypeVar

from flask import Flask, request
from werkzeug.exceptions import HTTPException, ServiceUnavailable

View = TypeVar("View", bound=Callable[..., object])

LANE_FULL: Final = "cart.lane_full"
"""Key of the WSGI environment: the lane that has no room for this request."""
RETRY_AFTER_S: Final = 5


class Lane(StrEnum):
    """Threads that answer one kind of request."""

    SHOP = "SHOP"
    PICTURES = "PICTURES"
    """Searching pictures for codes."""
    REPORTS = "REPORTS"
    """Long answers for the operator, files, and what waits for the camera."""


THREADS: Final = {Lane.SHOP: 8, Lane.PICTURES: 1, Lane.REPORTS: 2}  # one decoding process reads one picture at a time
MOST_WAITING: Final = {Lane.PICTURES: 20, Lane.REPORTS: 20}
"""Of one client. All together are bounded by the connections, and so are those of the shop, whose answers are quick."""
LARGE_BODIES: Final = {Lane.SHOP: 4, Lane.PICTURES: 16, Lane.REPORTS: 8}
"""That are read or being worked on at once: pictures take no place from the operator's files."""
ONE_HAS_A: Final = 4
"""One client has at most this part of the places for large bodies: a quarter."""
_FULL: Final = {
    Lane.SHOP: "The cart is still reading other large requests. Try again in a moment.",
    Lane.PICTURES: "The cart is still looking at other pictures. Try again in a moment.",
    Lane.REPORTS: "The cart is still working on other reports and files. Try again in a moment.",
}


def answered_in(lane: Lane) -> Callable[[View], View]:
    """Mark a view as answered by the threads of this lane, not by those of the shop."""

    def marked(view: View) -> View:
        view.lane = lane  # type: ignore[attr-defined]
        return view

    return marked


def lane_of(application: Flask, environ: dict[str, Any]) -> Lane:
    """Return the lane of the view that will answer a request."""
    path = environ["PATH_INFO"].encode("latin-1").decode(errors="replace")
    try:
        endpoint, _ = application.url_map.bind("cart").match(path, environ["REQUEST_METHOD"])
    except HTTPException:  # the application says so to the client
        return Lane.SHOP
    return getattr(application.view_functions.get(endpoint), "lane", Lane.SHOP)


def refuse_when_full() -> None:
    """Refuse a request for which its lane has no room; to be run before each request."""
    lane = request.environ.get(LANE_FULL)
    if lane is not None:
        raise ServiceUnavailable(_FULL[lane], retry_after=RETRY_AFTER_S)
