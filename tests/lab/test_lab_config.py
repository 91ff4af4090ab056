"""The configuration of a run: the same from flags, TOML and Python, and a sentence for each wrong value."""

import tomllib
from dataclasses import fields

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from cart_common.process.settings import CommandLine, SettingError, option_of
from lab.conditions.attacks import KINDS
from lab.config import HOSTILE_KINDS, LEARNING, LabSettings, RunConfig, RunFlags

VALUES = st.fixed_dictionaries(
    {},
    optional={
        "task": st.text(min_size=1, max_size=20),
        "carts": st.integers(2, 10_000),
        "seed": st.integers(0, 2**63 - 1),
        "loss": st.floats(0, 0.9),
        "churn": st.floats(0, 0.9),
        "engine": st.sampled_from(["auto", "vectorised", "one-by-one"]),
        "accept_backward": st.integers(0, 100),
        "wire_precision": st.sampled_from(["half", "full", "int8", "int4"]),
    },
)


@given(VALUES)
def test_a_configuration_comes_back_from_toml(values):
    config = RunConfig.of(values)
    again = RunConfig.of(tomllib.loads(tomli_w.dumps(config.values())))
    assert again.values() == config.values()
    assert again.cart_settings(3) == config.cart_settings(3)
    assert {name: again.values()[name] for name in values} == values


def test_each_learning_setting_of_a_cart_is_one_of_a_run():
    shown = {entry.name for entry in fields(RunFlags)}
    assert {"accept_backward", "accept_forward", "wire_precision"} <= shown
    derived = {"dataset_size", "cluster_size"}
    assert {entry.name for entry in LEARNING} - derived == shown - {entry.name for entry in fields(LabSettings)}


@pytest.mark.parametrize("entry", fields(RunFlags), ids=lambda entry: entry.name)
def test_each_wrong_value_is_named(entry):
    declared = option_of(entry)
    wrong = [[], {}]
    if entry.type != "str":
        wrong += ["many", "", None]
    if declared.choices:
        wrong += ["other"]
    if declared.minimum is not None:
        wrong += [declared.minimum - 1]
    if declared.maximum is not None:
        wrong += [declared.maximum + 1]
    if entry.type == "int":
        wrong += [2.5, "9" * 5000]
    if entry.type == "float":
        wrong += ["nan", float("inf")]
    for value in wrong:
        with pytest.raises(SettingError) as told:
            RunConfig.of({entry.name: value})
        sentence = str(told.value)
        assert entry.name in sentence
        assert sentence.endswith(".")


def test_the_help_names_every_kind_of_attack():
    assert tuple(KINDS) == HOSTILE_KINDS


def test_an_unknown_setting_is_named():
    with pytest.raises(SettingError, match="roundz"):
        RunConfig.of({"roundz": 3})


def test_flags_go_before_the_file(tmp_path):
    (tmp_path / "run.toml").write_text("carts = 9\nrounds = 4\naccept_backward = 7\n")
    config = RunConfig.of_flags({"rounds": 6}, tmp_path / "run.toml")
    assert (config.lab.carts, config.lab.rounds) == (9, 6)
    assert config.cart_settings(3).accept_backward == 7


def test_a_flag_goes_before_the_file_with_its_default_too(tmp_path):
    (tmp_path / "run.toml").write_text("carts = 9\nrounds = 4\nloss = 0.5\n")
    line = CommandLine(RunFlags, "LAB", "")
    _, values = line.read_given(["--carts", "8"], {"LAB_LOSS": "0"})
    assert values == {"carts": 8, "loss": 0}
    config = RunConfig.of_flags(values, tmp_path / "run.toml")
    assert (config.lab.carts, config.lab.rounds, config.lab.loss) == (8, 4, 0)


def test_a_run_that_goes_on_takes_no_other_settings():
    config = RunConfig.of({"carts": 9})
    assert config.at_places_of({"carts": 9, "engine": "ray"}).lab.engine == "ray"
    with pytest.raises(SettingError, match="The run has carts 9, not 8: a run goes on with its own settings"):
        config.at_places_of({"carts": 8})


def test_carts_take_as_many_rows_in_a_round_as_a_run_gives_them():
    values = RunConfig.of({"rows": 20_000}).values()
    assert RunConfig.of(values).cart_settings(3).max_round_rows == 20_000
    assert RunConfig.of({"rows": 20, "max_round_rows": 500}).cart_settings(3).max_round_rows == 500


@given(st.binary(max_size=60))
def test_any_file_is_a_configuration_or_a_sentence(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("config") / "run.toml"
    path.write_bytes(content)
    try:
        RunConfig.load(path)
    except SettingError as error:
        assert str(error)


@given(st.text(alphabet='[]{}="\n.,#abctrue019-:_', max_size=60))
def test_any_toml_is_a_configuration_or_a_sentence(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("config") / "run.toml"
    path.write_text(content)
    try:
        RunConfig.load(path)
    except SettingError as error:
        assert str(error)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SettingError, match=r"none\.toml cannot be read"):
        RunConfig.load(tmp_path / "none.toml")
