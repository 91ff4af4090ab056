"""JSON objects of others: text to a dictionary, and the values of the fields that a dataclass declares.

Unknown keys are ignored, so that a later version may add some. What is wrong is a ``ValueError`` whose sentence goes
on from the name of what was read.
"""

from __future__ import annotations

import json
from dataclasses import MISSING, Field
from typing import Any, Final, NoReturn


def _refuse(name: str) -> NoReturn:
    """Reject NaN and Infinity, which Python's decoder accepts although they are not JSON."""
    raise ValueError(name)


# Made once: making them takes longer than reading a short message.
_ENCODER: Final = json.JSONEncoder(separators=(",", ":"))
_DECODER: Final = json.JSONDecoder(parse_constant=_refuse)


def json_text(body: dict[str, Any]) -> str:
    """Return the shortest JSON text of an object."""
    return _ENCODER.encode(body)


def json_value(text: str) -> object:
    """Return the value of a JSON text.

    Raises:
        ValueError: if the text is not valid JSON, or nested too deeply.
    """
    try:
        return _DECODER.decode(text)
    except (ValueError, RecursionError):
        raise ValueError("is not valid JSON") from None


def declared_values(declared: tuple[Field[Any], ...], body: dict[str, Any]) -> dict[str, Any]:
    """Return the checked values of the declared fields that the object has.

    Raises:
        ValueError: for a field that is missing or wrong.
    """
    values: dict[str, Any] = {}
    for entry in declared:
        if entry.name not in body:
            if entry.default is MISSING:
                raise ValueError(f"lacks its field {entry.name!r}")
            continue
        try:
            values[entry.name] = entry.metadata["check"](body[entry.name])
        except (ValueError, OverflowError) as error:
            raise ValueError(f"has a wrong {entry.name!r}: it {error}") from None
    return values
