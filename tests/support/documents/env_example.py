"""The lists of settings in ``docker-compose.yml`` and ``.env.example``, made from the settings themselves."""

import re
from dataclasses import fields
from pathlib import Path

from cart_common.process.settings import option_of, variable_name
from child_cart.config import CartSettings
from parent_cart.config import BridgeSettings

ROOT = Path(__file__).parents[3]
COMPOSE = ROOT / "docker-compose.yml"
EXAMPLE = ROOT / ".env.example"
PROGRAMS = {"BRIDGE": BridgeSettings, "CART": CartSettings}
HEAD = "# begin of the settings, written by: python -m tests.support.documents.setting_tables\n"
FOOT = "# end of the settings\n"


def compose_lists() -> str:
    """Return each program's settings as a list without values: compose then takes those of .env or of the shell."""
    return "\n".join(
        f"x-{prefix.lower()}-settings: &{prefix.lower()}-settings\n"
        + "".join(f"  {variable_name(prefix, entry.name)}:\n" for entry in fields(settings))
        for prefix, settings in PROGRAMS.items()
    )


def example_lists(compose: str) -> str:
    """Return each program's settings as lines for .env, with the values that hold in containers.

    Args:
        compose: the text of the compose file, which gives some settings values of its own.
    """
    own = dict(re.findall(r"^      ((?:BRIDGE|CART)_\w+): (.+)$", compose, re.MULTILINE))
    lines = []
    for prefix, settings in PROGRAMS.items():
        lines.append(f"# The settings of each {prefix.lower()}.\n")
        for entry in fields(settings):
            declared = option_of(entry)
            choices = f" ({', '.join(declared.choices)})" if declared.choices else ""
            name = variable_name(prefix, entry.name)
            default = f"{entry.default:g}" if isinstance(entry.default, float) else str(entry.default)
            changeable = re.fullmatch(rf"\${{{name}:-(.*)}}", own.get(name, ""))
            lines.append(f"# {declared.help[0].upper()}{declared.help[1:]}{choices}.")
            if name in own and not changeable:
                lines.append(f"# {name} is set in docker-compose.yml: {own[name].strip(chr(34))}\n")
            else:
                lines.append(f"#{name}={changeable[1] if changeable else default}\n")
    return "\n".join(lines)


def with_lists(text: str, lists: str) -> str:
    """Return a file's text with these lists between its marks."""
    before, head, rest = text.partition(HEAD)
    _, foot, after = rest.partition(FOOT)
    assert head, "the mark of the beginning is missing"
    assert foot, "the mark of the end is missing"
    return f"{before}{head}{lists}{foot}{after}"


def write() -> None:
    """Replace the lists by the present ones."""
    COMPOSE.write_text(with_lists(COMPOSE.read_text(), compose_lists()))
    EXAMPLE.write_text(with_lists(EXAMPLE.read_text(), example_lists(COMPOSE.read_text())))
