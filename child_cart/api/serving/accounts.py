"""By what connections and requests are counted, also behind proxies that the operator trusts. Has no I/O."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

from aiohttp import web

from cart_common.process.account import account_of
from cart_common.process.addresses import Network, client_behind, is_in


class ClientAccounts:
    """Whose a connection is, and whose a request.

    A client that comes by itself is one account with both. A trusted proxy sends the requests of many clients over
    its connections: each request counts for its client, and each connection by itself, so that no client's connections
    are counted as those of all.

    Args:
        trusted: networks of the proxies whose word counts.
    """

    def __init__(self, trusted: Sequence[Network]) -> None:
        self._trusted = tuple(trusted)
        self._numbers = count(1)

    def of_connection(self, address: str) -> str:
        """Return the account of a connection from this address."""
        if is_in(self._trusted, address):
            return f"{address} connection {next(self._numbers)}"
        return account_of(address=address)

    def of_request(self, request: web.BaseRequest) -> str:
        """Return the account of a request's client."""
        forwarded_for = ",".join(request.headers.getall("X-Forwarded-For", ()))
        return account_of(address=client_behind(self._trusted, request.remote or "", forwarded_for))
