"""Every wrong field is named, in the order of the fields, and each once."""

from __future__ import annotations

import pytest

from cart_common.process.field_errors import FieldErrors, parsed


def wrong(sentence: str) -> int:
    raise ValueError(sentence)


def test_right_fields_are_returned_by_name() -> None:
    assert parsed({"amount": lambda: int("3"), "name": lambda: "tea"}) == {"amount": 3, "name": "tea"}


def test_every_wrong_field_is_named() -> None:
    with pytest.raises(FieldErrors) as caught:
        parsed({"a": lambda: wrong("a is 1"), "b": lambda: 2, "c": lambda: wrong("c is 3")})
    assert caught.value.fields == {"a": "a is 1", "c": "c is 3"}
    assert str(caught.value) == "a is 1. c is 3"


def test_of_two_checks_of_one_field_the_first_speaks() -> None:
    def both() -> int:
        raise FieldErrors({"a": "A is no number.", "b": "B is missing."})

    with pytest.raises(FieldErrors) as caught:
        parsed({"a": lambda: wrong("a is x"), "rest": both})
    assert str(caught.value) == "a is x. B is missing."
