"""Forward proxies between a cart and its bridges, as the environment names them. Has no I/O; never shows a password."""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from cart_common.process.addresses import host_and_port, is_loopback
from cart_common.process.redaction import shown

VARIABLES: Final = {"wss": "HTTPS_PROXY", "ws": "HTTP_PROXY"}
_STATUS: Final = re.compile(rb"HTTP/1\.[01] (\d{3})[ \r]")


class ProxyError(Exception):
    """A proxy cannot be used; the sentence names it and says why."""


@dataclass(frozen=True)
class Proxy:
    """An HTTP proxy that opens connections with CONNECT (RFC 9110, 9.3.6)."""

    host: str
    port: int
    variable: str
    """The variable of the environment that names it."""
    authorization: str = field(default="", repr=False)
    """The value of ``Proxy-Authorization``; empty for a proxy without a password."""

    @property
    def url(self) -> str:
        """The proxy's address, without user and password."""
        return f"http://{host_and_port(self.host, self.port)}"

    def connect_request(self, host: str, port: int) -> bytes:
        """Return what asks the proxy for a connection to a bridge.

        Raises:
            UnicodeError: if the host's name cannot be one.
        """
        target = host_and_port(host.encode("idna").decode(), port)
        proof = f"Proxy-Authorization: {self.authorization}\r\n" if self.authorization else ""
        return f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{proof}\r\n".encode()

    def check_answer(self, head: bytes) -> None:
        """Check what the proxy answers, up to the empty line.

        Raises:
            ProxyError: if it has not connected.
        """
        status = _STATUS.match(head)
        if status is None:
            raise ProxyError(f"{self.url} ({self.variable}) is not a proxy: its answer is not HTTP.")
        code = int(status[1])
        if code == 407:
            raise ProxyError(
                f"the proxy {self.url} refuses this cart's user or password (HTTP status 407). {self.variable} "
                "has them as http://user:password@host:port."
            )
        if not 200 <= code < 300:
            raise ProxyError(f"the proxy {self.url} ({self.variable}) does not connect (HTTP status {code}).")


@dataclass(frozen=True)
class ForwardProxies:
    """Which proxy leads to which bridge.

    Args:
        named: the addresses of proxies, by their variables.
        exempt: the hosts that are reached directly: names with all below them, addresses, networks, or ``*``; each may
            have a port.
    """

    named: Mapping[str, str] = field(default_factory=dict, repr=False)
    exempt: tuple[str, ...] = ()

    def proxy_for(self, url: str) -> Proxy | None:
        """Return the proxy through which a bridge is reached; None if it is reached directly, as loopback always is.

        Raises:
            ProxyError: if the proxy's address cannot be used.
        """
        try:
            parts = urlsplit(url)
            host, port = (parts.hostname or "").rstrip("."), parts.port or (443 if parts.scheme == "wss" else 80)
        except ValueError:
            return None  # connecting says what is wrong with the bridge's address
        variable = VARIABLES.get(parts.scheme, "")
        named = self.named.get(variable, "")
        if not named or is_loopback(host) or any(_exempts(entry, host, port) for entry in self.exempt):
            return None
        return _proxy_at(named, variable)


DIRECT: Final = ForwardProxies()
"""No proxies: every bridge is reached directly."""


def proxies_of(environ: Mapping[str, str]) -> ForwardProxies:
    """Return the proxies that the environment names; a name in lower case comes first, as in other programs."""

    def value(name: str) -> str:
        return (environ.get(name.lower()) or environ.get(name) or "").strip()

    exempt = tuple(entry.lower() for entry in re.split(r"[,\s]+", value("NO_PROXY")) if entry)
    return ForwardProxies({name: value(name) for name in VARIABLES.values()}, exempt)


def _proxy_at(text: str, variable: str) -> Proxy:
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        port = parts.port or 80
    except ValueError:
        parts, port = SplitResult("", "", "", "", ""), 0
    if parts.scheme != "http" or not parts.hostname or not parts.hostname.isprintable() or " " in parts.hostname:
        raise ProxyError(
            f"{variable} is {_hidden(text)!r}; it must be http://host:port or http://user:password@host:port."
        )
    authorization = ""
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = f"Basic {base64.b64encode(pair.encode()).decode()}"
    return Proxy(parts.hostname, port, variable, authorization)


def _hidden(text: str) -> str:
    """Return a proxy's address without user and password, wherever in it they may be."""
    return shown(text.rpartition("@")[2])


def _exempts(entry: str, host: str, port: int) -> bool:
    """Tell whether an entry of ``NO_PROXY`` names a host."""
    if entry == "*":
        return True
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        pass
    name, colon, wanted_port = entry.rpartition(":")
    if not colon or not wanted_port.isdecimal():
        name, wanted_port = entry, str(port)
    name = name.strip("[]").removeprefix("*").strip(".")
    return wanted_port == str(port) and bool(name) and (host == name or host.endswith(f".{name}"))
