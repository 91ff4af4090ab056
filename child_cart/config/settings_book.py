"""The settings as they hold now: those of the start, and the changes made on the admin page."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import Field, fields, replace
from typing import Any

from cart_common.process.redaction import shown
from cart_common.process.settings import (
    SettingError,
    field_named,
    flag_name,
    option_of,
    parse_value,
    variable_name,
)

from ..db.store import LearningStore
from .settings import CartSettings, check

log = logging.getLogger("cart.config")


class SettingsBook:
    """The settings as they hold now: those of the start, with the changes that were made on the admin page.

    A change outlives a restart, and takes precedence over flags and environment until it is taken back, as it was made
    later than the start-up command.
    """

    def __init__(self, start: CartSettings, store: LearningStore) -> None:
        self._start = start
        self._store = store
        self._lock = threading.Lock()
        self._listeners: list[Callable[[], None]] = []
        self.current = self._at_start(store.settings())

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call this after each change, from the thread that makes it."""
        self._listeners.append(listener)

    def change(self, name: str, value: object) -> None:
        """Change a live setting, now and for later starts; None takes an earlier change back.

        Raises:
            SettingError: if there is no such setting, it needs a restart, or the value is wrong.
        """
        entry = field_named(fields(CartSettings), name)
        if not option_of(entry).live:
            raise SettingError(f"{name} can only be set when the cart starts.")
        with self._lock:
            changes = self._store.settings()
            formerly = option_of(entry).formerly
            if formerly and changes.pop(formerly, None) is not None:
                self._store.put_setting(formerly, None)
            changes.pop(name, None)
            if value is not None:
                changes[name] = str(parse_value(entry, value, name))
            changed = self._with_changes(changes)
            check(changed)
            self._store.put_setting(name, changes.get(name))
            self.current = changed
        for listener in self._listeners:
            listener()

    def describe(self) -> list[dict[str, object]]:
        """Return every setting with its value, its help, and whether it was changed here."""
        changes = self._store.settings()
        return [
            {
                "name": entry.name,
                "value": _shown_value(self.current, entry),
                "start_value": _shown_value(self._start, entry),
                "flag": flag_name(entry.name),
                "variable": variable_name("CART", entry.name),
                "changed": entry.name in changes,
                "live": declared.live,
                "help": declared.help,
                "type": entry.type,
                "choices": list(declared.choices),
                "minimum": declared.minimum,
                "maximum": declared.maximum,
            }
            for entry in fields(CartSettings)
            for declared in (option_of(entry),)
        ]

    def _with_changes(self, changes: dict[str, str]) -> CartSettings:
        # A change kept by another version of the program may name a setting that is gone, or has another name now.
        parsed = {}
        for entry in fields(CartSettings):
            text = changes.get(entry.name, changes.get(option_of(entry).formerly))
            if text is not None:
                parsed[entry.name] = parse_value(entry, text, entry.name)
        return replace(self._start, **parsed)

    def _at_start(self, changes: dict[str, str]) -> CartSettings:
        """Return the start settings with the kept changes, or without them if together they no longer make sense."""
        try:
            changed = self._with_changes(changes)
            check(changed)
        except SettingError as error:
            log.warning(
                "the changes made on the admin page do not fit the start settings and are passed over: %s", error
            )
            return self._start
        return changed


def _shown_value(settings: CartSettings, entry: Field[Any]) -> Any:
    value = getattr(settings, entry.name)
    return shown(value) if option_of(entry).secret else value
