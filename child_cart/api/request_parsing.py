"""Parse requests into plain values; reject invalid ones with a readable error."""

from __future__ import annotations

from typing import Any, Final

from flask import abort, request

from cart_common.process.json_values import Json

from ..db.records import MAX_ID_CHARS, is_id
from ..shop.billing import described

MAX_DIGITS: Final = 9


class RequestError(ValueError):
    """A request that cannot be carried out; the message is a sentence for its sender."""


def json_body() -> Json:
    """Return the request's JSON object.

    Raises:
        RequestError: if the body is anything else.
    """
    try:
        body: Any = request.get_json(silent=True)
    except RecursionError:  # brackets in brackets, thousands deep
        body = None
    if not isinstance(body, dict):
        raise RequestError("The body of the request must be a JSON object.")
    return body


def text_id(body: Json, field: str) -> str:
    """Return the id that a client has chosen for what it sends.

    Raises:
        RequestError: if the field is missing, or not a short printable text.
    """
    value = body.get(field)
    if not is_id(value):
        raise RequestError(
            f"{field} is {described(value)}; it must be a text of 1 to {MAX_ID_CHARS} printable characters, "
            "new for each one."
        )
    return value


def number(name: str, default: int, low: int, high: int) -> int:
    """Return a whole number from the query of the address; answer 400 if it is not one from ``low`` to ``high``."""
    text = request.args.get(name)
    if text is None:
        return default
    # The length first: Python refuses to read numbers of thousands of digits.
    if not text.isdecimal() or len(text) > MAX_DIGITS or not low <= int(text) <= high:
        abort(400, f"{name} is {text[:40]!r}; it must be a whole number from {low} to {high}.")
    return int(text)
