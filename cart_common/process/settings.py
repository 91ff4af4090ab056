"""Settings as data: one frozen dataclass per program is its table of names, defaults and help.

They are read once: from the command line, else the environment, else the default. An error names setting and value.
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from difflib import get_close_matches
from typing import Any, NoReturn, TypeVar

from cart_common import __version__

from .errors import UserError
from .redaction import shown

T = TypeVar("T")


class SettingError(UserError, ValueError):
    """A setting has a value that cannot be used."""


@dataclass(frozen=True)
class Option:
    """The help text of one setting, and the rules for its value."""

    help: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    live: bool = False
    """True if a running process applies a change at once."""
    learning: bool = False
    """True if it says how a cart learns: experiments have it, too."""
    listed: bool = False
    """True for several values, separated by commas; the flag may also be given several times."""
    secret: bool = False
    """True if a value may hold a password, which is never shown."""
    formerly: str = ""
    """The name that it had in an earlier version, under which it can still be given."""
    check: Callable[[Any], str | None] | None = None
    """Takes the value and returns None, or what it must be instead, as words that complete "it must be …"."""


def option(default: Any, help: str, **rules: Any) -> Any:
    """Declare one setting: a dataclass field that carries its help and its rules."""
    return field(default=default, metadata={"option": Option(help, **rules)})


def option_of(entry: Field[Any]) -> Option:
    """Return what ``option`` declared for this field."""
    declared = entry.metadata["option"]
    assert isinstance(declared, Option)
    return declared


def variable_name(prefix: str, name: str) -> str:
    """Return the environment variable of a setting: ``dataset_size`` of ``CART`` is ``CART_DATASET_SIZE``."""
    return f"{prefix}_{name.upper()}"


def flag_name(name: str) -> str:
    """Return the command-line flag of a setting: ``dataset_size`` is ``--dataset-size``."""
    return "--" + name.replace("_", "-")


def parse_value(entry: Field[Any], text: object, shown_name: str) -> Any:
    """Turn text (or a JSON value) into the setting's type and check its rules.

    Raises:
        SettingError: with the setting's name, the value, and what it must be.
    """
    declared = option_of(entry)
    written = shown(text) if isinstance(text, str) else text
    if entry.type == "str":
        if not isinstance(text, str):
            raise SettingError(f"{shown_name} is {text!r}; it must be a text.")
        if declared.choices and text not in declared.choices:
            raise SettingError(f"{shown_name} is {written!r}; it must be one of {', '.join(declared.choices)}.")
        return text
    whole = entry.type == "int"
    expected = f"a {'whole ' if whole else ''}number{_range_words(declared)}"
    try:
        if isinstance(text, bool):
            raise ValueError
        number: float = int(str(text)) if whole else float(str(text))
    except ValueError:
        raise SettingError(f"{shown_name} is {written!r}; it must be {expected}.") from None
    too_small = declared.minimum is not None and not number >= declared.minimum
    too_large = declared.maximum is not None and not number <= declared.maximum
    if too_small or too_large or not (whole or math.isfinite(number)):
        raise SettingError(f"{shown_name} is {text!r}; it must be {expected}.")
    return number


def check_values(settings: Any, prefix: str) -> None:
    """Check each value with the function that its field declares, if any.

    Args:
        settings: the dataclass with all values.
        prefix: of the program's environment variables.

    Raises:
        SettingError: for the first wrong value, with the setting's names and what it must be.
    """
    for entry in fields(settings):
        declared, value = option_of(entry), getattr(settings, entry.name)
        must_be = None if declared.check is None else declared.check(value)
        if must_be is not None:
            if isinstance(value, str):
                value = ",".join(map(shown, value.split(","))) if declared.listed else shown(value)
            name = f"{flag_name(entry.name)} ({variable_name(prefix, entry.name)})"
            raise SettingError(f"{name} is {value!r}; it must be {must_be}.")


def _names(entry: Field[Any]) -> list[str]:
    """Return the name of a setting, and the one that it had in an earlier version, if it had another."""
    formerly = option_of(entry).formerly
    return [entry.name, formerly] if formerly else [entry.name]


def _range_words(declared: Option) -> str:
    low, high = (None if bound is None else f"{bound:.16g}" for bound in (declared.minimum, declared.maximum))
    if low is not None and high is not None:
        return f" from {low} to {high}"
    if low is not None:
        return f" of at least {low}"
    return f" of at most {high}" if high is not None else ""


class CommandLine(argparse.ArgumentParser):
    """The command line of one program: its settings as flags, and what its caller adds.

    Args:
        cls: the dataclass of its settings.
        prefix: of their variables in the environment.
        description: what ``--help`` says first.
        told: the settings that ``--help`` shows, if not all; the others can be given, too.
        places: where words belong on this command line, for the error about one that is out of place.
    """

    def __init__(
        self,
        cls: type[Any],
        prefix: str,
        description: str,
        told: Collection[str] | None = None,
        places: str = "a value comes after its flag",
    ) -> None:
        self._cls, self._prefix, self._places = cls, prefix, places
        self._declared: list[Field[Any]] = list(fields(cls))
        in_help = [entry for entry in self._declared if told is None or entry.name in told]
        super().__init__(description=description, epilog=self._epilog(in_help), allow_abbrev=False)
        self.add_argument("--version", action="version", version=f"federated-carts {__version__}")
        for entry in self._declared:
            declared = option_of(entry)
            # Values stay text here, so that one function checks flags, environment and the admin page alike.
            default = "none" if entry.default == "" else entry.default
            words = (
                f"{declared.help} (default: {default})".replace("%", "%%") if entry in in_help else argparse.SUPPRESS
            )
            self.add_argument(
                *map(flag_name, _names(entry)),
                action="append" if declared.listed else "store",
                metavar="|".join(declared.choices) or str(entry.type).upper(),
                help=words,
                default=argparse.SUPPRESS,
            )

    def read(self, argv: Sequence[str], environ: Mapping[str, str]) -> tuple[argparse.Namespace, Any]:
        """Return what was given beside the settings, and the settings.

        Raises:
            SettingError, SystemExit: as ``read_given`` says.
        """
        given, values = self.read_given(argv, environ)
        return given, self._cls(**values)

    def read_given(self, argv: Sequence[str], environ: Mapping[str, str]) -> tuple[argparse.Namespace, dict[str, Any]]:
        """Return what was given beside the settings, and the values of those settings that were given.

        Raises:
            SettingError: for the first flag, word or value that cannot be used.
            SystemExit: for ``--help`` and ``--version``.
        """
        given, unknown = self.parse_known_args(list(argv))
        if unknown:
            raise self._unknown(unknown[0])
        values: dict[str, Any] = {}
        for entry in self._declared:
            assert entry.default is not MISSING
            variables = [variable_name(self._prefix, name) for name in _names(entry)]
            variable = next((name for name in variables if environ.get(name, "") != ""), None)
            if hasattr(given, entry.name):
                typed = getattr(given, entry.name)
                text = ",".join(typed) if option_of(entry).listed else typed
                values[entry.name] = parse_value(entry, text, flag_name(entry.name))
            elif variable is not None:
                values[entry.name] = parse_value(entry, environ[variable], variable)
        return given, values

    def error(self, message: str) -> NoReturn:
        """Raise argparse's error as one sentence, without the usage of fifty flags before it."""
        said = re.sub(r"""(['"])(.*)\1""", lambda quoted: repr(shown(quoted[2])), message, flags=re.DOTALL)
        hint = " A value that begins with - is given as --flag=VALUE." if "expected one argument" in said else ""
        raise SettingError(f"On the command line: {said}.{hint} See --help.")

    def _epilog(self, told: Sequence[Field[Any]]) -> str | None:
        if not told:
            return None
        flag, variable = flag_name(told[0].name), variable_name(self._prefix, told[0].name)
        return f"Each setting can also be given in the environment: {flag} is {variable}."

    def _unknown(self, word: str) -> SettingError:
        # A whole address may have been written into one word with its flag, or without one: it may hold a password.
        flag = re.match(r"--[A-Za-z][\w-]*|-[A-Za-z]", word)
        if flag is None:
            return SettingError(f"{shown(word)!r} is out of place: {self._places}.")
        told = [name for action in self._actions if action.help != argparse.SUPPRESS for name in action.option_strings]
        near = get_close_matches(flag[0], told, n=1)
        advice = f"Did you mean {near[0]}?" if near else "--help shows those there are."
        return SettingError(f"There is no flag {flag[0]}. {advice}")


def load(cls: type[T], prefix: str, argv: Sequence[str], environ: Mapping[str, str], description: str) -> T:
    """Read the settings of a program whose command line has nothing else.

    Raises:
        SettingError, SystemExit: as ``CommandLine.read`` says.
    """
    settings: T = CommandLine(cls, prefix, description).read(argv, environ)[1]
    return settings


def field_named(entries: Iterable[Field[Any]], name: str) -> Field[Any]:
    """Return the setting of this name.

    Raises:
        SettingError: if there is no such setting.
    """
    for entry in entries:
        if entry.name == name:
            return entry
    raise SettingError(f"There is no setting named {name!r}.")
