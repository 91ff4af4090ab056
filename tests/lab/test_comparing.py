"""Sweeps and comparisons: which runs there are, their intervals and differences, and both commands from end to end."""

import csv
from statistics import fmean

import pytest
from support.processes.programs import LIGHT_TASK

from cart_common.process.settings import SettingError
from lab.commands.command_line import main
from lab.config import RunConfig
from lab.runs.compare import Group, Interval, difference, interval
from lab.runs.plots import bounds_of, draw_groups
from lab.runs.results import CurvePoint
from lab.runs.run_folder import RunFolder
from lab.runs.sweep import planned, variations


def curve(*federated):
    return [
        CurvePoint(number, value, value - 0.1, 0.2, 0.1, 0.9, 100 * number, 0, 1.0, 1.0)
        for number, value in enumerate(federated, 1)
    ]


@pytest.mark.parametrize(
    ("values", "mean", "margin"),
    [
        # Quantiles 0.975 of Student's t, from tables: 12.7062 (1 degree of freedom), 4.3027 (2) and 2.7764 (4).
        ([0.0, 1.0], 0.5, 12.7062 * 0.5),
        ([2.0, 4.0, 9.0], 5.0, 4.3027 * (13 / 3) ** 0.5),
        ([1.0, 2.0, 3.0, 4.0, 5.0], 3.0, 2.7764 * 0.5**0.5),
        ([0.7, 0.7, 0.7], 0.7, 0.0),
    ],
)
def test_an_interval_is_that_of_student(values, mean, margin):
    found = interval(values)
    assert found.mean == pytest.approx(mean)
    assert found.margin == pytest.approx(margin, rel=1e-4, abs=1e-12)


def test_one_seed_has_no_interval():
    assert interval([0.5]) == Interval(0.5, None)
    assert str(interval([0.5])) == "0.500"
    assert str(Interval(0.5, 0.0123)) == "0.500±0.012"


def test_a_difference_is_the_second_less_the_first_paired_by_seed():
    first = Group("first", {1: curve(0.1, 0.50), 2: curve(0.1, 0.60), 3: curve(0.1, 0.40), 9: curve(0.1, 0.0)})
    second = Group("second", {3: curve(0.3, 0.50), 1: curve(0.3, 0.70), 2: curve(0.3, 0.90), 8: curve(0.3, 1.0)})
    # By seed: 0.2, 0.3, 0.1. Their standard deviation is 0.1.
    found = difference(first, second)
    assert found.mean == pytest.approx(0.2)
    assert found.margin == pytest.approx(4.3027 * 0.1 / 3**0.5, rel=1e-4)
    back = difference(second, first)
    assert (back.mean, back.margin) == pytest.approx((-found.mean, found.margin))


def test_a_difference_is_of_the_last_round_that_both_have():
    first, second = Group("a", {1: curve(0.1, 0.2, 0.9)}), Group("b", {1: curve(0.3, 0.7)})
    assert difference(first, second).mean == pytest.approx(0.5)
    assert difference(first, second).margin is None
    assert difference(first, Group("c", {2: curve(0.5)})) is None


def test_the_values_of_a_group_are_those_of_the_last_round_that_all_its_runs_have():
    group = Group("a", {2: curve(0.1, 0.2, 0.9), 1: curve(0.3, 0.7)})
    assert group.rounds == 2
    assert group.at(1, "federated") == [0.3, 0.1]
    assert group.last("federated").mean == pytest.approx(0.45)
    assert group.last("received_bytes").mean == 200


def bounded(all_data, alone):
    return [CurvePoint(n, 0.5, 0.4, alone, 0.1, all_data, 100, 0, 1.0, 1.0) for n in (1, 2)]


def test_a_bound_that_groups_share_is_one_line_and_another_one_is_its_groups_own():
    first, second = Group("a", {1: bounded(0.9, 0.2), 2: bounded(0.7, 0.2)}), Group("b", {1: bounded(0.8, 0.2)})
    third = Group("c", {1: bounded(0.6, 0.2)})
    shared, own = pytest.approx([0.8, 0.8]), pytest.approx([0.6, 0.6])
    assert bounds_of([first, second, third], "all_data") == [(None, shared), (2, own)]
    assert bounds_of([first, second, third], "alone") == [(None, [0.2, 0.2])]
    assert bounds_of([third], "alone") == [(0, [0.2, 0.2])]


def test_the_plot_has_the_bounds_of_each_group_that_differs(tmp_path):
    dashed = []
    for bounds in ((0.9, 0.2), (0.8, 0.3)):
        groups = [Group("a", {1: bounded(0.9, 0.2)}), Group("b", {1: bounded(*bounds)})]
        draw_groups(groups, tmp_path)
        dashed.append((tmp_path / "compare.svg").read_text().count("stroke-dasharray"))
    assert dashed[1] == dashed[0] + 2


def test_a_sweep_has_each_combination_with_each_seed_from_the_first_on(tmp_path):
    base = RunConfig.of({"task": LIGHT_TASK, "carts": 5, "seed": 7})
    varied = variations(["aggregator=uniform, accuracy", "hostile=,0.25:sign-flip", "accept-backward=0.1"])
    assert varied == {
        "aggregator": ["uniform", "accuracy"],
        "hostile": ["", "0.25:sign-flip"],
        "accept_backward": ["0.1"],
    }
    runs = planned(base, varied, 2, tmp_path)
    found = [(run.config.learning["aggregator"], run.config.lab.hostile, run.config.lab.seed) for run in runs]
    attack = "0.25:sign-flip"
    assert found == [
        *(("uniform", "", 7), ("uniform", "", 8), ("uniform", attack, 7), ("uniform", attack, 8)),
        *(("accuracy", "", 7), ("accuracy", "", 8), ("accuracy", attack, 7), ("accuracy", attack, 8)),
    ]
    assert all(run.config.lab.carts == 5 and run.config.learning["accept_backward"] == 0.1 for run in runs)
    assert runs[1].folder.path == tmp_path / "aggregator-uniform_hostile-none_accept_backward-0.1_seed-8"
    assert runs[2].name == "aggregator-uniform_hostile-0.25-sign-flip_accept_backward-0.1_seed-7"
    assert len({run.folder.path for run in runs}) == 8
    assert not any(run.folder.is_begun or run.folder.is_complete for run in runs)
    assert [run.name for run in planned(base, {}, 2, tmp_path)] == ["seed-7", "seed-8"]


@pytest.mark.parametrize("text", ["aggregator", "=uniform", "aggregator="])
def test_a_variation_of_another_form_is_named(text):
    with pytest.raises(SettingError, match="--vary is"):
        variations([text])


def test_a_setting_varies_once():
    with pytest.raises(SettingError, match="--vary names accept_backward twice: give all its values in one"):
        variations(["accept-backward=0.1", "aggregator=uniform", "accept_backward=0.2"])


def rows_of(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_a_sweep_and_a_comparison_of_its_runs_from_end_to_end(tmp_path, capsys):
    out = tmp_path / "sweep"
    base = ["--task", LIGHT_TASK, "--carts", "4", "--rounds", "2", "--rows", "10", "--partition", "labels:1"]
    words = ["sweep", *base, "--vary", "topology=ring,full", "--seeds", "2", "--seed", "3", "--out", str(out)]
    assert main(words) == 0
    told = capsys.readouterr().out
    names = [f"topology-{topology}_seed-{seed}" for topology in ("ring", "full") for seed in (3, 4)]
    assert sorted(path.name for path in out.iterdir() if path.is_dir()) == sorted(names)
    assert all(f"{name}: federated " in told for name in names)
    assert "A  topology ring" in told
    assert "B  topology full" in told
    curves = {name: RunFolder(out / name).curve() for name in names}
    assert all(len(points) == 2 for points in curves.values())
    table = rows_of(out / "compare.csv")
    assert [(line["group"], line["seeds"], line["rounds"]) for line in table] == [
        ("topology ring", "2", "2"),
        ("topology full", "2", "2"),
    ]
    for line, pair in zip(table, (names[:2], names[2:]), strict=True):
        for column in ("federated", "federated_worst", "alone", "all_data", "received_bytes"):
            values = [getattr(curves[name][-1], column) for name in pair]
            assert float(line[column]) == pytest.approx(fmean(values), abs=1e-5)
            wide = 12.7062 * abs(values[0] - values[1]) / 2
            assert float(line[f"{column}_margin"]) == pytest.approx(wide, rel=1e-4, abs=1e-5)
    ring, full = (float(line["federated"]) for line in table)
    assert f"B - A: {full - ring:+.3f} ± " in told
    assert (out / "compare.png").read_bytes().startswith(b"\x89PNG")

    before = {name: (out / name / "curve.csv").read_bytes() for name in names}  # with the real seconds
    assert main(words) == 0
    assert before == {name: (out / name / "curve.csv").read_bytes() for name in names}
    capsys.readouterr()
    again = tmp_path / "again"
    assert main(["compare", *(str(out / name) for name in names), "--out", str(again)]) == 0
    assert rows_of(again / "compare.csv") == table
    assert f"B - A: {full - ring:+.3f} ± " in capsys.readouterr().out
