"""A directory that several bridges of one test share: what one publishes, the others see at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from cart_common.wire.fleet_key import OPEN, bridge_token
from cart_common.wire.identity import Identity
from cart_common.wire.records import BridgeRecord, CartRecord, make_bridge_record
from parent_cart.directory.directory import BridgeLoad, OwnCarts

TOKEN = bridge_token(OPEN)


@dataclass
class SharedDirectory:
    """What all bridges know, each through its own view."""

    views: list[SharedDirectoryView] = field(default_factory=list)


class SharedDirectoryView:
    """One bridge's view of the shared directory."""

    def __init__(self, shared_directory: SharedDirectory, identity: Identity) -> None:
        self._shared = shared_directory
        self._identity = identity
        self.carts = OwnCarts(TOKEN)
        self.url = ""
        self.live = True
        """Whether other bridges see this one."""
        self.load: Callable[[], BridgeLoad]
        shared_directory.views.append(self)

    def neighbours(self) -> list[BridgeRecord]:
        return [entry.record() for entry in self._shared.views if entry is not self and entry.live and entry.url]

    def record(self) -> BridgeRecord:
        load = self.load()
        return make_bridge_record(
            self._identity,
            TOKEN,
            url=self.url,
            carts=load.carts,
            max_carts=load.max_carts,
            shells=load.shells,
            sequence=1,
            now_s=time.time(),
        )

    def publish_cart(self, cart_id: str, encoded: bytes) -> None:
        self.carts.take(cart_id, encoded)

    def withdraw_cart(self, cart_id: str) -> None:
        self.carts.drop(cart_id)

    async def find_cart(self, cart_id: str) -> CartRecord | None:
        found = [record for entry in self._shared.views if (record := entry.carts.get(cart_id)) is not None]
        return max(found, key=lambda record: record.sequence, default=None)

    async def start(self, url: str, load: Callable[[], BridgeLoad]) -> None:
        self.url, self.load = url, load

    async def stop(self) -> None:
        self.live = False
