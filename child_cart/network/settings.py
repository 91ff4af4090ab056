"""Settings as data: one frozen dataclass per program is its table of names, defaults and help.

Read once, from the command line, then the environment, then the default. A wrong value is named with its setting.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, TypeVar

from .. import __version__

T = TypeVar("T")


class SettingError(ValueError):
    """A setting has a value that cannot be used."""


@dataclass(frozen=True)
class Option:
    """What a person is told about one setting, and what its value must satisfy."""

    help: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    live: bool = False
    """True where a running process takes a change at once."""
    secret: bool = False
    """True where a value may hold a password, and so is never shown."""


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
    if entry.type == "str":
        if not isinstance(text, str):
            raise SettingError(f"{shown_name} is {text!r}; it must be a text.")
        if declared.choices and text not in declared.choices:
            raise SettingError(f"{shown_name} is {text!r}; it must be one of {', '.join(declared.choices)}.")
        return text
    whole = entry.type == "int"
    expected = f"a {'whole ' if whole else ''}number{_range_words(declared)}"
    try:
        if isinstance(text, bool):
            raise ValueError
        number: float = int(str(text)) if whole else float(str(text))
    except ValueError:
        raise SettingError(f"{shown_name} is {text!r}; it must be {expected}.") from None
    too_small = declared.minimum is not None and not number >= declared.minimum
    too_large = declared.maximum is not None and not number <= declared.maximum
    if too_small or too_large or not (whole or math.isfinite(number)):
        raise SettingError(f"{shown_name} is {text!r}; it must be {expected}.")
    return number


def _range_words(declared: Option) -> str:
    low, high = (None if bound is None else f"{bound:.16g}" for bound in (declared.minimum, declared.maximum))
    if low is not None and high is not None:
        return f" from {low} to {high}"
    if low is not None:
        return f" of at least {low}"
    return f" of at most {high}" if high is not None else ""


def load(cls: type[T], prefix: str, argv: Sequence[str], environ: Mapping[str, str], description: str) -> T:
    """Read the settings of one program.

    Raises:
        SettingError: for the first value that cannot be used.
        SystemExit: for ``--help``, ``--version`` and for flags that do not exist (argparse's own behaviour, status 2).
    """
    parser = argparse.ArgumentParser(
        description=description,
        epilog=f"Each setting can also be given in the environment: --port is {variable_name(prefix, 'port')}.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"federated-carts {__version__}")
    declared: list[Field[Any]] = list(fields(cls))  # type: ignore[arg-type]
    for entry in declared:
        # Values stay text here, so that one function checks flags, environment and the admin page alike.
        default = "none" if entry.default == "" else entry.default
        shown = f"{option_of(entry).help} (default: {default})".replace("%", "%%")
        metavar = str(entry.type).upper() if not option_of(entry).choices else "|".join(option_of(entry).choices)
        parser.add_argument(flag_name(entry.name), metavar=metavar, help=shown, default=argparse.SUPPRESS)
    given = vars(parser.parse_args(list(argv)))
    values: dict[str, Any] = {}
    for entry in declared:
        assert entry.default is not MISSING
        variable = variable_name(prefix, entry.name)
        if entry.name in given:
            values[entry.name] = parse_value(entry, given[entry.name], flag_name(entry.name))
        elif environ.get(variable, "") != "":
            values[entry.name] = parse_value(entry, environ[variable], variable)
    return cls(**values)


def field_named(entries: Iterable[Field[Any]], name: str) -> Field[Any]:
    """Return the setting of this name.

    Raises:
        SettingError: if there is none.
    """
    for entry in entries:
        if entry.name == name:
            return entry
    raise SettingError(f"There is no setting named {name!r}.")
