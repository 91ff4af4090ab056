"""Keeps pages of other sites from using a bridge through the browser of somebody who reaches it.

Carts and health checks know a bridge by any name, and are no browsers: ``/healthz`` answers to all, ``/v1/cart`` to all
that send no ``Origin``. A browser sends it with every WebSocket.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from cart_common.process.host_names import is_own_name, name_in

CARTS: Final = "/v1/cart"
FOR_EVERYBODY: Final = frozenset({CARTS, "/healthz"})


def request_guard(hosts: Collection[str], origins: Collection[str], counters: Counter[str]) -> Middleware:
    """Return a middleware that refuses requests by foreign names and WebSockets of foreign pages.

    Args:
        hosts: the names of this bridge, in lower case.
        origins: the origins whose pages may attach beside its own, in lower case.
        counters: counts what is refused.
    """

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        host = request.headers.get("Host", "")
        name, origin = name_in(host), request.headers.get("Origin")
        if request.path == CARTS and origin is not None and not _may_attach(origin.lower(), host, name):
            counters["foreign_origins"] += 1
            raise web.HTTPForbidden(
                text=f"Pages of {origin[:100]!a} may not attach here. Add the origin to --page-origins to allow it."
            )
        if request.path not in FOR_EVERYBODY and not is_own_name(name, hosts):
            counters["foreign_hosts"] += 1
            raise web.HTTPForbidden(
                text=f"This bridge does not answer to the name {name[:100]!a}. Add it to --page-hosts to allow it."
            )
        return await handler(request)

    def _may_attach(origin: str, host: str, name: str) -> bool:
        is_own = is_own_name(name, hosts) and origin.partition("://")[2] == host.lower()
        return is_own or origin in origins

    return guard
