"""A wrong setting is named with its value; flag beats environment beats default; the help knows them all."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cart_common.process.settings import (
    SettingError,
    check_values,
    field_named,
    flag_name,
    load,
    option,
    option_of,
    parse_value,
    variable_name,
)
from parent_cart.config import BridgeSettings


@dataclass(frozen=True)
class Sample:
    port: int = option(9000, "where to listen", minimum=0, maximum=65535)
    free: int = option(7, "any whole number")
    at_least: int = option(5, "five or more", minimum=5)
    at_most: float = option(0.5, "one half or less", maximum=0.5)
    share_s: float = option(0.25, "100 % sure", minimum=0, maximum=1, live=True)
    any_float: float = option(1.0, "any number")
    colour: str = option("red", "which colour", choices=("red", "blue"))
    name: str = option("", "a name of 5 % of the carts")
    percent: str = option("10%", "a default with a sign in it")
    places: str = option("here", "where to look, separated by commas", listed=True)


def read(*argv: str, **environ: str) -> Sample:
    return load(Sample, "TEST", argv, environ, "A sample.")


def test_nothing_given_leaves_the_defaults() -> None:
    assert read() == Sample()


def test_a_flag_beats_the_environment_and_that_beats_the_default() -> None:
    assert read().port == 9000
    assert read(TEST_PORT="1").port == 1
    assert read("--port", "2", TEST_PORT="1").port == 2
    assert read("--port=2").port == 2


def test_of_a_list_each_flag_counts_and_of_anything_else_the_last() -> None:
    assert read("--places", "a", "--places=b,c").places == "a,b,c"
    assert read("--places", "a", TEST_PLACES="b").places == "a"
    assert read(TEST_PLACES="b,c").places == "b,c"
    assert read("--port", "1", "--port", "2").port == 2


def test_an_empty_variable_counts_as_none() -> None:
    assert read(TEST_PORT="", TEST_NAME="").port == 9000


def test_the_environment_of_another_program_is_not_read() -> None:
    assert read(OTHER_PORT="1", PORT="2", TEST_PORTS="3") == Sample()


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("port", "0", 0),
        ("port", "65535", 65535),
        ("free", "-12", -12),
        ("free", "9" * 400, int("9" * 400)),
        ("at_most", "-3.5", -3.5),
        ("at_most", "1e-3", 0.001),
        ("share_s", "1", 1.0),
        ("colour", "blue", "blue"),
        ("name", "Élan vital", "Élan vital"),
    ],
)
def test_each_type_is_read(name: str, text: str, value: object) -> None:
    from_environment = getattr(read(**{variable_name("TEST", name): text}), name)
    from_flag = getattr(read(f"{flag_name(name)}={text}"), name)
    assert from_environment == from_flag == value
    assert type(from_flag) is type(value)


@pytest.mark.parametrize(
    ("name", "text", "must_be"),
    [
        ("port", "-1", "a whole number from 0 to 65535"),
        ("port", "65536", "a whole number from 0 to 65535"),
        ("port", "80.5", "a whole number"),
        ("port", "eighty", "a whole number"),
        ("port", "nan", "a whole number"),
        ("free", "inf", "a whole number"),
        ("free", "9" * 5000, "a whole number"),
        ("at_least", "4", "a whole number of at least 5"),
        ("at_most", "0.51", "a number of at most 0.5"),
        ("share_s", "nan", "a number from 0 to 1"),
        ("any_float", "nan", "a number"),
        ("any_float", "inf", "a number"),
        ("any_float", "-inf", "a number"),
        ("any_float", "1e999", "a number"),
        ("any_float", "", "a number"),
        ("colour", "green", "one of red, blue"),
    ],
)
def test_a_wrong_value_is_named_with_its_setting(name: str, text: str, must_be: str) -> None:
    flag, variable = flag_name(name), variable_name("TEST", name)
    says = re.escape(f" is {text!r}; it must be {must_be}")
    with pytest.raises(SettingError, match=re.escape(flag) + says):
        read(f"{flag}={text}")
    if text:
        with pytest.raises(SettingError, match=variable + says):
            read(**{variable: text})


@pytest.mark.parametrize(
    ("name", "value"),
    [("port", True), ("port", None), ("port", [80]), ("share_s", False), ("name", 5), ("name", None)],
)
def test_a_json_value_of_another_type_is_refused(name: str, value: object) -> None:
    with pytest.raises(SettingError, match=f"{name} is"):
        parse_value(field_named(fields(Sample), name), value, name)


@pytest.mark.parametrize(("name", "value"), [("port", 80), ("share_s", 0.5), ("share_s", 1)])
def test_a_json_value_of_the_right_type_is_taken(name: str, value: object) -> None:
    assert parse_value(field_named(fields(Sample), name), value, name) == value


@given(st.sampled_from(fields(Sample)), st.text() | st.floats() | st.integers() | st.booleans() | st.none())
def test_anything_is_a_value_within_the_rules_or_a_setting_error(entry: Any, value: object) -> None:
    try:
        parsed = parse_value(entry, value, entry.name)
    except SettingError as error:
        assert str(error).startswith(f"{entry.name} is ")
        return
    rules = option_of(entry)
    assert type(parsed).__name__ == entry.type
    assert rules.minimum is None or parsed >= rules.minimum
    assert rules.maximum is None or parsed <= rules.maximum


@dataclass(frozen=True)
class Checked:
    even: int = option(2, "an even number", check=lambda value: None if value % 2 == 0 else "even")
    hosts: str = option(
        "", "hosts, separated by commas", listed=True, check=lambda text: "other" if "wrong" in text else None
    )
    free: str = option("anything", "not checked")


def test_a_field_says_what_its_value_must_be() -> None:
    check_values(Checked(), "TEST")
    with pytest.raises(SettingError, match=re.escape("--even (TEST_EVEN) is 3; it must be even.")):
        check_values(Checked(even=3, hosts="wrong"), "TEST")


def test_a_wrong_value_is_named_without_the_passwords_in_it() -> None:
    settings = Checked(hosts="ws://me:s3cret@wrong:1,ws://other:s3cret@fine:2")
    with pytest.raises(SettingError, match=re.escape("is 'ws://wrong:1,ws://fine:2'; it must be other.")):
        check_values(settings, "TEST")


def test_a_setting_that_does_not_exist_is_named() -> None:
    with pytest.raises(SettingError, match="'colours'"):
        field_named(fields(Sample), "colours")


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["--nothing-like-it", "1"], "There is no flag --nothing-like-it. --help shows those there are."),
        (["--por", "1"], "There is no flag --por. Did you mean --port?"),
        (["--at_least=7"], "There is no flag --at_least. Did you mean --at-least?"),
        (["stray"], "'stray' is out of place: a value comes after its flag."),
        (["--hlep"], "There is no flag --hlep. Did you mean --help?"),
        (["--port", "1", "2"], "'2' is out of place"),
        (
            ["--port"],
            "On the command line: argument --port: expected one argument. A value that begins with - is given",
        ),
    ],
)
def test_what_the_command_line_does_not_know_is_one_sentence(argv: list[str], sentence: str) -> None:
    with pytest.raises(SettingError, match=re.escape(sentence)):
        read(*argv)


@pytest.mark.parametrize(("settings", "prefix"), [(Sample, "TEST"), (BridgeSettings, "BRIDGE")])
def test_the_help_shows_every_setting(settings: type, prefix: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        load(settings, prefix, ["--help"], {}, "A program.")
    assert caught.value.code == 0
    shown = "".join(capsys.readouterr().out.split())  # lines are broken at hyphens, too
    for entry in fields(settings):
        assert flag_name(entry.name) in shown
        default = "none" if entry.default == "" else entry.default
        assert "".join(f"{option_of(entry).help} (default: {default})".split()) in shown
    assert variable_name(prefix, fields(settings)[0].name) in shown
