"""The records that a bridge sends, held against the fleet's token, their signatures and the time."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from .records import BridgeRecord, CartRecord, Record, RecordError, check_record, record_name

log = logging.getLogger("cart.bridges")


def checked_bridges(texts: Iterable[str], token: bytes, now_s: float) -> list[BridgeRecord]:
    """Return the bridges among records, each once, passing over what is not to be taken."""
    found = {}
    for text in texts:
        record = _checked(text, token, now_s, None)
        if isinstance(record, BridgeRecord):
            found[record.bridge_id] = record
    return list(found.values())


def checked_cart(text: str, cart_id: str, token: bytes, now_s: float) -> CartRecord | None:
    """Return where this cart says that it is, or None if it has not signed that."""
    record = _checked(text, token, now_s, record_name(CartRecord.KIND, cart_id))
    return record if isinstance(record, CartRecord) else None


def _checked(text: str, token: bytes, now_s: float, name: str | None) -> Record | None:
    try:
        record = check_record(text.encode("utf-8", "replace"), token, now_s, name)
    except RecordError as error:
        log.debug("a record from the bridge is passed over: %s", error)
        return None
    return None if record.gone else record
