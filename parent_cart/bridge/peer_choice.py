"""Which carts have a model to give, and which of them a cart gets as its peers. Pure."""

from __future__ import annotations

from collections.abc import Callable

from cart_common.wire.messages import Role

from .peer_picker import PeerPicker


class PeerChoice:
    """The carts that can be peers, by the signature of their model and by their role.

    Args:
        randrange: ``random.Random.randrange``.
    """

    def __init__(self, randrange: Callable[[int, int], int]) -> None:
        self._randrange = randrange
        self._pickers: dict[tuple[str, Role], PeerPicker] = {}
        self._key_of: dict[str, tuple[str, Role]] = {}

    def put(self, cart_id: str, model_signature: str, role: Role, model_version: int) -> None:
        """Take note of what a cart is now; a new version alone gives it no new turn."""
        # A cart without a trained model has no model to give.
        key = (model_signature, role) if model_version > 0 else None
        if key == self._key_of.get(cart_id):
            return
        self.discard(cart_id)
        if key is not None:
            self._key_of[cart_id] = key
            self._pickers.setdefault(key, PeerPicker(self._randrange)).add(cart_id)

    def discard(self, cart_id: str) -> None:
        """Remove a cart; one that is not there changes nothing."""
        key = self._key_of.pop(cart_id, None)
        if key is None:
            return
        picker = self._pickers[key]
        picker.discard(cart_id)
        if not len(picker):
            # Model signatures come from outside: empty pickers that are kept would leak memory.
            del self._pickers[key]

    def available(self, model_signature: str, without: str) -> int:
        """Return how many carts have a model with this signature to give, not counting ``without``."""
        pickers = (self._picker(model_signature, role) for role in Role)
        return sum(len(picker) - (without in picker) for picker in pickers)

    def pick(self, model_signature: str, count: int, without: str) -> list[str]:
        """Return up to ``count`` different carts that have a model with this signature, never ``without``.

        If there are too few SHELLs, KERNELs are added: they answer requests, too. Otherwise the carts of a small fleet
        that all collect at once would wait for each other.
        """
        peers = self._picker(model_signature, Role.SHELL).pick(count, without)
        return peers + self._picker(model_signature, Role.KERNEL).pick(count - len(peers), without)

    def has_other_models(self, model_signature: str) -> bool:
        """Tell whether any cart has a model with another signature to give."""
        # It looks at three entries at most: two may be this model's.
        return any(signature != model_signature for signature, _ in self._pickers)

    def _picker(self, model_signature: str, role: Role) -> PeerPicker:
        return self._pickers.get((model_signature, role)) or PeerPicker(self._randrange)
