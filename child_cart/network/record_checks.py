"""Check the records that a bridge sends: the fleet's token, signatures and times."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from cart_common.wire.records import BridgeRecord, CartRecord, RecordError, check_record, record_name

log = logging.getLogger("cart.bridges")


def checked_bridges(texts: Iterable[str], token: bytes, now_s: float) -> list[BridgeRecord]:
    """Return the bridges among records, each once; ignore invalid records."""
    found, refused = {}, ""
    for text in texts:
        try:
            record = check_record(text.encode("utf-8", "replace"), token, now_s)
        except RecordError as error:
            refused = str(error)
            continue
        if isinstance(record, BridgeRecord) and not record.gone:
            found[record.bridge_id] = record
    if refused and not found:
        # The usual cause is this cart's wrong clock, which shows nowhere else.
        log.warning("none of the other bridges that the bridge has named is taken: %s", refused)
    return list(found.values())


def checked_cart(text: str, cart_id: str, token: bytes, now_s: float) -> CartRecord | None:
    """Return where a cart says that it is, or None if the cart has not signed that."""
    try:
        record = check_record(text.encode("utf-8", "replace"), token, now_s, record_name(CartRecord.KIND, cart_id))
    except RecordError as error:
        log.info("the record of cart %s is not taken: %s", cart_id[:8], error)
        return None
    return record if isinstance(record, CartRecord) and not record.gone else None
