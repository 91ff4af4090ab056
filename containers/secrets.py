"""Give carts the fleet key and a password, and bridges the key's token: ``python -m containers.secrets``.

It ends before any of them starts. A secret that was given is used; one that was not is made at the first start, and
kept from then on.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cart_common.process.atomic_files import write_whole
from cart_common.process.settings import SettingError, load, option
from cart_common.wire.fleet_key import FleetKeyError, Secret, as_text, bridge_token, new_key, parse_key

PASSWORD_BYTES: Final = 15


@dataclass(frozen=True)
class SecretsSettings:
    """Where secrets come from and go to; in the environment the settings are named ``SECRETS_…``."""

    fleet_key: str = option("/run/secrets/fleet_key", "file with a fleet key to take; empty or not there for none")
    admin_password: str = option("/run/secrets/admin_password", "likewise, with a password for the admin pages")
    carts: str = option("/secrets/carts", "folder that only carts read, for key and password")
    bridges: str = option("/secrets/bridges", "folder that only bridges read, for the token")
    user: int = option(10001, "id of the user that bridges and carts run as", minimum=0, maximum=1 << 31)


def hand_out(settings: SecretsSettings) -> list[str]:
    """Write key, password and token to the folders of carts and bridges; return what was done, as sentences.

    Raises:
        SettingError: if a key cannot be used, or a folder cannot be written.
    """
    carts, bridges = Path(settings.carts), Path(settings.bridges)
    try:
        key, of_key = _one(
            "fleet key", Path(settings.fleet_key), carts / "fleet.key", lambda: as_text(new_key(), Secret.FLEET_KEY)
        )
        password, of_password = _one(
            "password of the admin pages",
            Path(settings.admin_password),
            carts / "admin.password",
            lambda: secrets.token_urlsafe(PASSWORD_BYTES),
        )
        token = as_text(bridge_token(parse_key(key, Secret.FLEET_KEY)), Secret.BRIDGE_TOKEN)
        for path, text in (
            (carts / "fleet.key", key),
            (carts / "admin.password", password),
            (bridges / "bridge.token", token),
        ):
            write_whole(path, f"{text}\n".encode())
            os.chown(path, settings.user, settings.user)
    except FleetKeyError as error:
        raise SettingError(f"The fleet key cannot be used: {error}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(f"The secrets cannot be handed out: {error}.") from None
    return [of_key, of_password]


def _one(what: str, given: Path, kept: Path, make: Callable[[], str]) -> tuple[str, str]:
    """Return a secret, and a sentence that says where it comes from."""
    text = given.read_text().strip() if given.exists() else ""
    if text:
        return text, f"The {what} is the one that was given."
    if kept.exists():
        return kept.read_text().strip(), f"The {what} is the one made earlier."
    return make(), f"A {what} was made; it is in {kept}."


def main() -> int:
    """Hand out the secrets; return the process's exit status."""
    try:
        print("\n".join(hand_out(load(SecretsSettings, "SECRETS", [], os.environ, ""))))
    except SettingError as error:
        print(f"secrets: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
