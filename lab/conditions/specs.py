"""Parse a setting of the form NAME or NAME:ARGUMENT, and say what it must be where it is wrong."""

from __future__ import annotations

import math

from cart_common.process.redaction import shown
from cart_common.process.settings import SettingError


class Spec:
    """The value of one setting, split at its first colon.

    Args:
        setting: its name, without dashes.
        text: its value.
        must_be: words that complete "it must be ...".
    """

    def __init__(self, setting: str, text: str, must_be: str) -> None:
        self._setting, self._text, self._must_be = setting, text, must_be
        self.name, self._colon, self.argument = text.partition(":")

    def refusal(self, must_be: str = "") -> SettingError:
        """Return the error about this value; ``must_be`` replaces the general words by more exact ones."""
        return SettingError(f"--{self._setting} is {shown(self._text)!r}; it must be {must_be or self._must_be}.")

    def bare(self) -> str:
        """Return the name of a spec that takes no argument; raises ``SettingError`` if it has one."""
        if self._colon:
            raise self.refusal()
        return self.name

    def whole(self, low: int, high: int, must_be: str = "") -> int:
        """Return the argument as a whole number in this range; raises ``SettingError`` for any other."""
        if not (self.argument.isdecimal() and len(self.argument) < 20):
            raise self.refusal()
        number = int(self.argument)
        if not low <= number <= high:
            raise self.refusal(must_be)
        return number

    def number(self, text: str, low: float, high: float) -> float:
        """Return a part of the spec as a number in this range; raises ``SettingError`` for any other."""
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not low <= number <= high:
            raise self.refusal()
        return number
