"""The settings tables of the documentation, made from the settings themselves.

Run as a script to put them into ``docs/settings.md``, and the lists for containers where they belong:
``python -m tests.support.documents.setting_tables``.
"""

import re
from dataclasses import fields
from pathlib import Path

from cart_common.process.settings import flag_name, option_of, variable_name
from child_cart.config import CartSettings
from parent_cart.config import BridgeSettings
from tests.support.documents import env_example


def table(cls: type, prefix: str) -> str:
    """Return one program's settings as a Markdown table."""
    lines = ["| flag | environment | default | what it is |", "|---|---|---|---|"]
    for entry in fields(cls):
        declared = option_of(entry)
        default = f"`{entry.default:g}`" if isinstance(entry.default, float) else f"`{entry.default}`"
        choices = f" ({', '.join(declared.choices)})" if declared.choices else ""
        live = " **Can be changed on the admin page.**" if declared.live else ""
        shown = default if entry.default != "" else "none"
        words = f"{declared.help[0].upper()}{declared.help[1:]}{choices}.{live}"
        lines.append(f"| `{flag_name(entry.name)}` | `{variable_name(prefix, entry.name)}` | {shown} | {words} |")
    return "\n".join(lines)


def tables() -> dict[str, str]:
    """Return both programs' tables."""
    return {"cart": table(CartSettings, "CART"), "bridge": table(BridgeSettings, "BRIDGE")}


def main() -> None:
    """Replace each program's table by the present one."""
    page = Path(__file__).parents[3] / "docs/settings.md"
    text = page.read_text()
    for prefix, fresh in (("CART", tables()["cart"]), ("BRIDGE", tables()["bridge"])):
        of_program = rf"\| flag \|.*\n\|---.*\n(?:\| `[^`]*` \| `{prefix}_.*(?:\n|$))+"
        text, replaced = re.subn(of_program, lambda _, fresh=fresh: fresh + "\n", text)
        assert replaced == 1, prefix
    page.write_text(text)
    env_example.write()


if __name__ == "__main__":
    main()
