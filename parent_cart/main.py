"""Start a bridge: build the parts, wire them, listen, and stop cleanly on a signal."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

if __name__ == "__main__":
    # Also as a plain script from anywhere, without an installation.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from aiohttp import web

from cart_common.process.addresses import host_and_port, networks_in
from cart_common.process.data_folder import claimed
from cart_common.process.errors import UserError
from cart_common.process.os_errors import error_words
from cart_common.process.settings import SettingError, load
from cart_common.process.tls import serving_context
from cart_common.process.tuning import new_event_loop, raise_malloc_thresholds, raise_open_file_limit
from cart_common.wire.fleet_key import FleetKeyError, Secret, read_key
from cart_common.wire.identity import Identity
from parent_cart.bridge.admission import Admission
from parent_cart.bridge.allowance import RateLimits
from parent_cart.bridge.hub import Hub
from parent_cart.bridge.neighbourhood import Neighbourhood
from parent_cart.bridge.rules import Limits
from parent_cart.bridge.secure_draws import SecureDraws
from parent_cart.config import BridgeSettings, check
from parent_cart.directory.dht import DhtDirectory
from parent_cart.directory.directory import BridgeLoad, Directory, LoneDirectory
from parent_cart.pages.neighbours import DirectoryCollector, DirectoryPage
from parent_cart.pages.request_guard import request_guard
from parent_cart.pages.status import StatusPages
from parent_cart.relay.http_connections import READ_BUFFER_BYTES, cut_off_others, is_ours
from parent_cart.relay.relay import Relay

__all__ = ["parent_cart"]

log = logging.getLogger("bridge")
OTHER_FILES = 100
MIN_TOKEN_CHARS = 16
DATA_NAMES = ("key.pem*", "neighbours.json*", "lock", "slot")
"""Patterns of what a bridge keeps in its data folder."""

DESCRIPTION = (
    "Run a bridge: a relay that carts attach to over one WebSocket each, and through which they send each other "
    "their models. Its status page is at http://HOST:PORT/."
)


@dataclass(frozen=True)
class Bridge:
    """The parts of a bridge, wired."""

    application: web.Application
    hub: Hub
    relay: Relay
    directory: Directory
    neighbourhood: Neighbourhood

    def load(self) -> BridgeLoad:
        """Return the bridge's present load."""
        carts = self.hub.carts.values()
        # In either role: where every bridge has few carts, carts that collect at the same time must find each other.
        givers = Counter(cart.model_signature for cart in carts if cart.model_version)
        return BridgeLoad(len(carts), self.hub.limits.max_carts, givers)


def build(settings: BridgeSettings, folder: Path | None = None) -> Bridge:
    """Return a bridge that does not listen yet.

    Args:
        settings: all of them.
        folder: the locked data folder; without one the bridge keeps nothing.

    Raises:
        SettingError: if a setting, or a token file, cannot be used.
        IdentityError: if the key file in the folder cannot be used.
    """
    check(settings)
    limits = Limits(
        max_carts=settings.max_carts,
        max_transfers_per_cart=settings.max_transfers,
        max_chunk_bytes=settings.max_chunk_bytes,
        max_window_bytes=settings.max_window_bytes,
        max_buffered_bytes=settings.max_buffered_bytes,
        transfer_idle_s=settings.transfer_idle_s,
        resume_timeout_s=settings.resume_timeout_s,
    )
    # The system's random source: a cart that could predict the choice could get into every cluster.
    chance = random.SystemRandom()
    token = _token_of(settings)
    identity = Identity.load_or_create(folder / "key.pem") if folder else Identity.generate()
    directory = _directory_of(settings, identity, token, folder)
    neighbourhood = Neighbourhood(directory, time.monotonic, chance)
    hub = Hub(
        *(limits, time.monotonic, time.time, lambda: os.urandom(16).hex()),
        *(SecureDraws().randrange, neighbourhood.elsewhere),
    )
    admission = Admission(token, time.monotonic, settings.max_connections, networks_in(settings.trusted_proxies))
    rates = RateLimits(settings.max_frames_per_s, settings.max_bytes_per_s)
    relay = Relay(
        identity.cart_id, hub, admission, neighbourhood, settings.attach_timeout_s, settings.heartbeat_s, rates
    )
    guard = request_guard(settings.own_hosts(), settings.foreign_origins(), hub.counters)
    application = web.Application(middlewares=[guard])
    application.router.add_get("/v1/cart", relay.handle)
    status = StatusPages(hub, relay.bridge_id, _status_token_of(settings), directory.neighbours)
    status.add_routes(application)
    status.add_figures(DirectoryCollector(directory))
    application.router.add_get("/bridge/neighbours", status.guarded(DirectoryPage(directory).neighbours))
    return Bridge(application, hub, relay, directory, neighbourhood)


def _directory_of(settings: BridgeSettings, identity: Identity, token: bytes | None, folder: Path | None) -> Directory:
    if not settings.dht_port:
        return LoneDirectory(token)
    listen = (settings.dht_host or settings.host, settings.dht_port)
    addresses_file = folder / "neighbours.json" if folder else None
    takes_old = settings.dht_old_datagrams == "on"
    return DhtDirectory(identity, token, listen, settings.bootstrap_peers(), addresses_file, takes_old=takes_old)


def _token_of(settings: BridgeSettings) -> bytes | None:
    if not settings.token_file:
        return None
    try:
        return read_key(Path(settings.token_file), Secret.BRIDGE_TOKEN)
    except FleetKeyError as error:
        raise SettingError(f"--token-file (BRIDGE_TOKEN_FILE) is {settings.token_file!r}; {error}.") from None


def _status_token_of(settings: BridgeSettings) -> str:
    if not settings.status_token_file:
        return ""
    name = f"--status-token-file (BRIDGE_STATUS_TOKEN_FILE) is {settings.status_token_file!r}"
    try:
        token = Path(settings.status_token_file).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(f"{name}; it cannot be read ({error_words(error)}).") from None
    if len(token) < MIN_TOKEN_CHARS:
        raise SettingError(f"{name}; its token has {len(token)} characters, {MIN_TOKEN_CHARS} are needed.")
    return token


async def serve(settings: BridgeSettings, folder: Path | None = None) -> None:
    """Run a bridge until SIGTERM or SIGINT; arguments as ``build`` says.

    Raises:
        SettingError: if the token file or the certificate cannot be used, or the address not be listened on.
        IdentityError: if the key file in the folder cannot be used.
    """
    tls = serving_context(settings.tls_cert, settings.tls_key, "BRIDGE")
    bridge = build(settings, folder)
    runner = web.AppRunner(bridge.application, access_log=None, shutdown_timeout=2.0, read_bufsize=READ_BUFFER_BYTES)
    await runner.setup()
    server = runner.server
    assert server is not None  # since setup
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        try:
            await web.TCPSite(runner, settings.host, settings.port, backlog=1024, ssl_context=tls).start()
        except OSError as error:
            raise SettingError(
                f"The bridge cannot listen on {settings.host} port {settings.port}: {error_words(error)}. "
                "Stop what uses it, or choose another with --host and --port (BRIDGE_HOST, BRIDGE_PORT)."
            ) from None
        port = runner.addresses[0][1]
        end = "s" if tls else ""
        place = host_and_port(settings.host, port)
        log.info("bridge is at ws%s://%s (status page at http%s://%s/)", *(end, place) * 2)
        if not settings.token_file:
            log.warning("no --token-file was given: every cart is admitted")
        bridge.relay.url = settings.url(port)
        await bridge.directory.start(bridge.relay.url, bridge.load)
        async with asyncio.TaskGroup() as group:  # a sweep that crashes ends the bridge, loudly
            sweeping = group.create_task(bridge.relay.sweep())
            directing = group.create_task(bridge.directory.run())
            cutting_off = group.create_task(cut_off_others(server, networks_in(settings.trusted_proxies)))
            await stop.wait()
            log.info("stopping")
            stop.clear()
            bridge.neighbourhood.keep_last()
            directing.cancel()
            await bridge.directory.stop()
            await bridge.relay.send_away(settings.leave_s, hurried=stop)
            sweeping.cancel()
            cutting_off.cancel()
        await bridge.relay.close()
    finally:
        await runner.cleanup()


def make_room_for_sockets(max_carts: int) -> None:
    """Allow one socket for each cart, as far as the system does; log a warning if that is not enough."""
    hard = raise_open_file_limit()
    if hard < max_carts + OTHER_FILES:
        log.warning("this system lets a process open %d files: not all of %d carts can attach", hard, max_carts)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the process's exit status."""
    try:
        settings = load(BridgeSettings, "BRIDGE", sys.argv[1:] if argv is None else argv, os.environ, DESCRIPTION)
        logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        logging.getLogger("aiohttp.server").addFilter(is_ours)
        raise_malloc_thresholds()
        make_room_for_sockets(settings.max_carts)
        folder = claimed(Path(settings.data_dir), "bridge", DATA_NAMES) if settings.data_dir else nullcontext()
        with folder as held, asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(serve(settings, held))
    except UserError as error:
        print(f"bridge: {error}", file=sys.stderr)
        return 2
    return 0


def parent_cart() -> None:
    """Run a bridge with the flags of the command line and the variables of the environment, until it is told to stop.

    For a script of one's own: ``from parent_cart.main import *``, then ``parent_cart()``. It has the package's name.

    Raises:
        SystemExit: with status 2 if the bridge cannot start; the reason is on stderr.
    """
    if status := main():
        sys.exit(status)


if __name__ == "__main__":
    sys.exit(main())
