"""Give the application the address of the client, where a proxy that the operator trusts tells it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication

from cart_common.process.addresses import Network, client_behind


class ForwardedClients:
    """A WSGI application before another one: settles ``REMOTE_ADDR``.

    It takes ``X-Forwarded-For`` away from every request: Flask-Login, for one, believes it whoever sends it.

    Args:
        application: gets the requests.
        trusted: networks of the proxies whose word counts.
    """

    def __init__(self, application: WSGIApplication, trusted: Sequence[Network]) -> None:
        self._application = application
        self._trusted = tuple(trusted)

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Pass a request on."""
        forwarded_for = environ.pop("HTTP_X_FORWARDED_FOR", "")
        environ["REMOTE_ADDR"] = client_behind(self._trusted, environ.get("REMOTE_ADDR", ""), forwarded_for)
        return self._application(environ, start_response)
