"""The bridge's settings: their names, defaults and help, in one table."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from typing import Final

from cart_common.process.addresses import check_networks, host_and_port
from cart_common.process.host_names import host_names, name_in
from cart_common.process.settings import SettingError, check_values, option
from cart_common.wire.chunk import HEADER_BYTES, MAX_CHUNK_BYTES, SEAL_BYTES
from cart_common.wire.records import MAX_URL_CHARS, is_bridge_url

LEAST_FRAMES_PER_S: Final = 10
LEAST_BUFFERED_CHUNKS: Final = 8
_PEER: Final = re.compile(r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+)):(?P<port>[0-9]{1,5})")
_ORIGIN: Final = re.compile(r"https?://(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?")

NOTHING_PASSES: Final = "with less, not even one chunk and its credit would pass in a second"


def _check_public_url(text: str) -> str | None:
    if not text or is_bridge_url(text.rstrip("/")):
        return None
    return f"ws://host:port or wss://host:port, with at most {MAX_URL_CHARS} characters"


def _check_origins(text: str) -> str | None:
    wrong = [part for part in _parts(text) if not _ORIGIN.fullmatch(part)]
    return "https://name or http://name:port each, without a path" if wrong else None


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _check_frame_rate(per_s: int) -> str | None:
    is_enough = per_s == 0 or per_s >= LEAST_FRAMES_PER_S
    return None if is_enough else f"0, for no limit, or at least {LEAST_FRAMES_PER_S}: {NOTHING_PASSES}"


@dataclass(frozen=True)
class BridgeSettings:
    """All settings of a bridge; also ``BRIDGE_…`` in the environment."""

    host: str = option("127.0.0.1", "address to listen on; 0.0.0.0 for all")
    port: int = option(9000, "port for carts and for the status page; 0 takes a free one", minimum=0, maximum=65535)
    public_url: str = option(
        "",
        "where carts reach this bridge, as wss://name:port; without it from host, port and certificate",
        check=_check_public_url,
    )
    dht_port: int = option(
        0, "UDP port at which other bridges find this one; 0 for a bridge that is alone", minimum=0, maximum=65535
    )
    dht_host: str = option("", "address to take datagrams of other bridges at; without it that of --host")
    dht_old_datagrams: str = option(
        "off",
        "whether to take and send the datagrams of version 0.1, too, which a stranger who hears one can send again; on "
        "only while the fleet has such bridges",
        choices=("on", "off"),
    )
    bootstrap: str = option(
        "",
        "bridges to meet first, as host:port of their --dht-port, separated by commas; tried again and again",
        listed=True,
    )
    tls_cert: str = option("", "file with the certificate chain (PEM), to serve wss:// and https:// instead")
    tls_key: str = option("", "file with the certificate's private key (PEM)")
    page_hosts: str = option(
        "",
        "more names under which people ask for the pages, beside that of --public-url, separated by commas",
        listed=True,
    )
    page_origins: str = option(
        "",
        "origins of other sites whose pages may attach as carts, as https://name:port, separated by commas",
        listed=True,
        check=_check_origins,
    )
    data_dir: str = option(
        "",
        "folder for what this bridge keeps, first of all its key; without it, it is another bridge after a restart",
    )
    token_file: str = option(
        "", "file with the bridge token that keygen has printed; without it every cart is admitted"
    )
    status_token_file: str = option(
        "", "file with a token (16 characters or more) without which the status page and metrics show nothing"
    )
    max_carts: int = option(10_000, "most carts attached at once", minimum=1, maximum=1_000_000)
    max_transfers: int = option(64, "most open transfers of one cart", minimum=1, maximum=10_000)
    max_chunk_bytes: int = option(
        512 * 1024, "most payload of one chunk, in bytes", minimum=1024, maximum=MAX_CHUNK_BYTES
    )
    max_window_bytes: int = option(
        4 * 1024 * 1024, "most bytes of one transfer that may wait here, in bytes", minimum=65536, maximum=1 << 30
    )
    max_buffered_bytes: int = option(
        64 * 1024 * 1024,
        "most bytes of all transfers that may wait here, in bytes; beyond it credit waits",
        minimum=65536,
        maximum=1 << 40,
    )
    max_connections: int = option(
        0, "most connections from one address, or one /64 network of IPv6; 0 for no limit", minimum=0, maximum=1_000_000
    )
    trusted_proxies: str = option(
        "",
        "addresses or networks of the proxies before this bridge, separated by commas: what they tell in "
        "X-Forwarded-For is a cart's address, which limits count; without it that of the connection",
        listed=True,
        check=check_networks,
    )
    max_frames_per_s: int = option(
        0,
        "most frames a second from one cart, which has to wait beyond that; 0 for no limit",
        minimum=0,
        maximum=10**6,
        check=_check_frame_rate,
    )
    max_bytes_per_s: int = option(
        0, "most bytes a second from one cart, which has to wait beyond that; 0 for no limit", minimum=0, maximum=10**12
    )
    attach_timeout_s: float = option(10.0, "seconds in which a new connection must attach", minimum=0.1, maximum=300)
    heartbeat_s: float = option(20.0, "seconds between pings to a silent cart", minimum=0.1, maximum=3600)
    transfer_idle_s: float = option(60.0, "seconds after which a silent transfer is ended", minimum=1, maximum=86400)
    resume_timeout_s: float = option(
        90.0, "seconds that a transfer waits for a cart whose link was lost", minimum=0.1, maximum=86400
    )
    leave_s: float = option(
        # With all that comes before and after it, less than the ten seconds after which containers are killed.
        5.0,
        "seconds that a stopping bridge gives open transfers before it sends their carts to other bridges",
        minimum=0,
        maximum=86400,
    )
    log_level: str = option("INFO", "how much to log", choices=("DEBUG", "INFO", "WARNING", "ERROR"))

    def url(self, port: int) -> str:
        """Return where carts reach this bridge, which listens on this port."""
        if self.public_url:
            return self.public_url.rstrip("/")
        return f"ws{'s' if self.tls_cert else ''}://{host_and_port(self.host, port)}"

    def own_hosts(self) -> frozenset[str]:
        """Return the names under which the pages answer, in lower case."""
        return host_names(
            self.host, socket.gethostname(), name_in(self.public_url.rpartition("//")[2]), self.page_hosts
        )

    def foreign_origins(self) -> frozenset[str]:
        """Return the origins of other sites whose pages may attach, in lower case."""
        return frozenset(origin.lower() for origin in _parts(self.page_origins))

    def bootstrap_peers(self) -> list[tuple[str, int]]:
        """Return the hosts and ports of the bridges to meet first.

        Raises:
            SettingError: if one of them is not host:port.
        """
        peers = []
        for text in _parts(self.bootstrap):
            found = _PEER.fullmatch(text)
            if not found or not 0 < int(found["port"]) < 65536:
                raise SettingError(
                    f"--bootstrap (BRIDGE_BOOTSTRAP) names {text!r}; it must be host:port of another bridge's "
                    "--dht-port, and several are separated by commas."
                )
            peers.append((found["ipv6"] or found["name"], int(found["port"])))
        return peers


def check(settings: BridgeSettings) -> None:
    """Check each setting, and those that must fit each other.

    Raises:
        SettingError: with the setting's name, its value, and what it must be.
    """
    check_values(settings, "BRIDGE")
    if settings.max_window_bytes < settings.max_chunk_bytes:
        raise SettingError(
            f"--max-window-bytes (BRIDGE_MAX_WINDOW_BYTES) is {settings.max_window_bytes}; "
            f"it must be at least --max-chunk-bytes, which is {settings.max_chunk_bytes}."
        )
    if settings.max_buffered_bytes < LEAST_BUFFERED_CHUNKS * settings.max_chunk_bytes:
        raise SettingError(
            f"--max-buffered-bytes (BRIDGE_MAX_BUFFERED_BYTES) is {settings.max_buffered_bytes}; it must be at least "
            f"{LEAST_BUFFERED_CHUNKS} times --max-chunk-bytes, which is {settings.max_chunk_bytes}."
        )
    least = HEADER_BYTES + settings.max_chunk_bytes + SEAL_BYTES
    if 0 < settings.max_bytes_per_s < least:
        raise SettingError(
            f"--max-bytes-per-s (BRIDGE_MAX_BYTES_PER_S) is {settings.max_bytes_per_s}; it must be 0, for no limit, or "
            f"at least {least}: {NOTHING_PASSES}."
        )
    _check_directory(settings)


def _check_directory(settings: BridgeSettings) -> None:
    """Reject settings with which other bridges cannot reach this one."""
    peers = settings.bootstrap_peers()
    if peers and not settings.dht_port:
        raise SettingError(
            f"--bootstrap (BRIDGE_BOOTSTRAP) is {settings.bootstrap!r}, but --dht-port (BRIDGE_DHT_PORT) is 0: "
            "name the UDP port at which the others are to find this bridge."
        )
    if settings.dht_port and not settings.public_url and settings.host in ("0.0.0.0", "::", ""):  # noqa: S104
        raise SettingError(
            f"--host (BRIDGE_HOST) is {settings.host!r}, from which others cannot tell where carts reach this bridge: "
            "with --dht-port it needs --public-url (BRIDGE_PUBLIC_URL), as wss://name:port."
        )
