"""What settings only name: keys, certificates, host names, and how the trainer process starts."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path

from cart_common.process.host_names import host_names
from cart_common.process.os_errors import error_words
from cart_common.process.settings import SettingError
from cart_common.wire.fleet_key import OPEN, FleetKeyError, Secret, read_key

from ..model.partition import Partition
from ..model.process_trainer import TrainerSetup
from ..model.task import is_tried
from ..network.forward_proxy import ForwardProxies, ProxyError, proxies_of
from .settings import CartSettings, bridge_urls


def fleet_key_of(settings: CartSettings) -> bytes:
    """Return the key of the fleet, or ``OPEN`` where no file is named.

    Raises:
        SettingError: if the file holds no fleet key.
    """
    if not settings.fleet_key_file:
        return OPEN
    try:
        return read_key(Path(settings.fleet_key_file), Secret.FLEET_KEY)
    except FleetKeyError as error:
        raise SettingError(f"--fleet-key-file (CART_FLEET_KEY_FILE) is {settings.fleet_key_file!r}; {error}.") from None


def bridge_trust(settings: CartSettings) -> ssl.SSLContext | None:
    """Return how to trust a ``wss://`` bridge, or None for the system's trust store alone.

    Raises:
        SettingError: if the file holds no CA certificate.
    """
    if not settings.bridge_ca:
        return None
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(settings.bridge_ca)
    except (OSError, ssl.SSLError) as error:
        raise SettingError(
            f"--bridge-ca (CART_BRIDGE_CA) is {settings.bridge_ca!r}; it must name a CA certificate "
            f"({error_words(error)})."
        ) from None
    return context


def forward_proxies(settings: CartSettings, environ: Mapping[str, str]) -> ForwardProxies:
    """Return the proxies that the environment names.

    Raises:
        SettingError: if a bridge of the settings would be reached through one whose address cannot be used.
    """
    proxies = proxies_of(environ)
    try:
        for url in bridge_urls(settings):
            proxies.proxy_for(url)
    except ProxyError as error:
        raise SettingError(str(error)) from None
    return proxies


def page_hosts(settings: CartSettings) -> frozenset[str]:
    """Return the names under which the pages answer, in lower case."""
    return host_names(settings.host, socket.gethostname(), settings.page_hosts)


def trainer_setup(settings: CartSettings, folder: Path) -> TrainerSetup:
    """Return how the trainer process of a cart with this data folder starts."""
    partition = Partition.parse(settings.share)
    return TrainerSetup(
        task=settings.task,
        partition=(partition.index, partition.count),
        data=os.path.abspath(settings.data) if settings.data else "",
        starter_rows=settings.starter_rows,
        threads=settings.train_threads,
        memory_bytes=settings.trainer_memory_bytes,
        idle_s=settings.trainer_idle_s,
        silence_s=settings.trainer_silence_s,
        log_path=folder / "trainer.log",
        is_tried=is_tried(settings.task),
    )
