"""What comes with a request, as plain values; what is none of them is refused with a sentence."""

from __future__ import annotations

from typing import Any, Final

from flask import abort, request

from ..db.records import Json
from ..operation.desk import RequestError

MAX_DIGITS: Final = 9


def json_body() -> Json:
    """Return the request's JSON object.

    Raises:
        RequestError: if its body is none.
    """
    try:
        body: Any = request.get_json(silent=True)
    except RecursionError:  # brackets in brackets, thousands deep
        body = None
    if not isinstance(body, dict):
        raise RequestError("The body of the request is to be a JSON object.")
    return body


def number(name: str, default: int, low: int, high: int) -> int:
    """Return a number of the address; answers 400 if it is none, or out of its bounds."""
    text = request.args.get(name)
    if text is None:
        return default
    # The length first: Python refuses to read numbers of thousands of digits.
    if not text.isdecimal() or len(text) > MAX_DIGITS or not low <= int(text) <= high:
        abort(400, f"{name} is {text[:40]!r}; it must be a whole number from {low} to {high}.")
    return int(text)
