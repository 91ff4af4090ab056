"""The compose file and .env.example agree with each other. That they hold every setting is tested with the docs."""

import re
from dataclasses import fields

import pytest

from cart_common.process.settings import load, variable_name
from containers import secrets, slot
from tests.support.documents.env_example import COMPOSE, EXAMPLE, PROGRAMS


def test_what_the_compose_file_asks_for_is_in_the_example_with_the_same_default():
    asked = re.findall(r"\$\{(\w+):-([^}]*)\}", COMPOSE.read_text())
    assert len(asked) > 8
    for name, default in asked:
        assert f"\n#{name}={default}\n" in EXAMPLE.read_text(), name


def test_the_example_names_nothing_that_nobody_reads():
    for name in re.findall(r"^#(\w+)=", EXAMPLE.read_text(), re.MULTILINE):
        assert re.search(rf"\$\{{{name}:-|^ +{name}:$", COMPOSE.read_text(), re.MULTILINE), name


@pytest.mark.parametrize("prefix", PROGRAMS)
def test_the_example_as_it_stands_can_be_loaded(prefix):
    given = dict(re.findall(rf"^#({prefix}_\w+)=(.*)$", EXAMPLE.read_text(), re.MULTILINE))
    assert len(given) > 10
    load(PROGRAMS[prefix], prefix, [], given, "")


def test_what_the_compose_file_sets_of_helpers_are_their_settings():
    for prefix, settings in (("SLOT", slot.SlotSettings), ("SECRETS", secrets.SecretsSettings)):
        known = {variable_name(prefix, entry.name) for entry in fields(settings)}
        used = set(re.findall(rf"^ +({prefix}_\w+):", COMPOSE.read_text(), re.MULTILINE))
        assert used <= known
