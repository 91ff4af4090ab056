"""What a run writes for TensorBoard and MLflow, read back by libraries that others have written."""

from __future__ import annotations

import csv
import shutil
import struct
import sys
from pathlib import Path

import pytest

from cart_common.process.settings import SettingError
from lab.config import LabSettings, RunConfig
from lab.runs.results import CurvePoint
from lab.runs.run_folder import RunFolder
from lab.runs.running import Stop, carry_out
from lab.runs.trackers import METRICS, MlflowTracker, trackers_of

LIGHT = {"task": "support.carts.light_task:LightTask", "carts": 4, "rounds": 3, "partition": "iid", "method": "fedavg"}
POINT = CurvePoint(1, 0.5, 0.4, 0.3, 0.2, 0.9, 10, 0, 1.0, 1.0)


def run(folder: Path, rounds_before_stop: int = 0, resume: bool = False, **settings: object) -> list[dict[str, str]]:
    """Carry out a run; return the lines of its curve."""
    stop, config = Stop(), RunConfig.of({**LIGHT, **settings})

    def on_round(_: object, point: CurvePoint) -> None:
        stop.asked = point.round == rounds_before_stop

    carry_out(config, RunFolder(folder), lambda _: None, on_round, stop, resume)
    with open(folder / "curve.csv", newline="") as file:
        return list(csv.DictReader(file))


def events(folder: Path) -> dict[str, dict[int, float]]:
    """Return each scalar of the event files by round: a file is a row of records with length and checksums."""
    from tensorboardX.proto.event_pb2 import Event

    found: dict[str, dict[int, float]] = {}
    for path in sorted(folder.glob("events.*")):
        content, place = path.read_bytes(), 0
        while place < len(content):
            (size,) = struct.unpack_from("<Q", content, place)
            event = Event.FromString(content[place + 12 : place + 12 + size])
            place += 12 + size + 4
            for value in event.summary.value:
                found.setdefault(value.tag, {})[event.step] = value.simple_value
    return found


def test_event_files_have_the_curve(tmp_path):
    lines = run(tmp_path / "run", tensorboard="on")
    found = events(tmp_path / "run")
    assert found.keys() == set(METRICS)
    for name in METRICS:
        assert found[name] == pytest.approx({int(line["round"]): float(line[name]) for line in lines}, abs=1e-5)


def test_event_files_of_a_resumed_run_have_each_round(tmp_path):
    run(tmp_path / "run", rounds_before_stop=1, tensorboard="on")
    assert events(tmp_path / "run")["federated"].keys() == {1}
    run(tmp_path / "run", resume=True, tensorboard="on")
    assert events(tmp_path / "run")["federated"].keys() == {1, 2, 3}


@pytest.mark.needs("mlflow")
@pytest.mark.filterwarnings("ignore")  # MLflow's own
def test_runs_of_mlflow_have_parameters_and_metrics(tmp_path):
    place = tmp_path / "tracking"
    run(tmp_path / "a", rounds_before_stop=1, mlflow=str(place))
    lines = run(tmp_path / "a", resume=True, mlflow=str(place))
    run(tmp_path / "b", mlflow=str(place), seed=1)
    import mlflow

    client = mlflow.MlflowClient(place.as_uri())
    experiment = client.get_experiment_by_name("federated-carts")
    found = {one.info.run_name: one for one in client.search_runs([experiment.experiment_id])}
    assert found.keys() == {"a", "b"}
    assert found["a"].data.params["method"] == "fedavg"
    assert (found["a"].data.params["seed"], found["b"].data.params["seed"]) == ("0", "1")
    assert found["a"].info.status == "FINISHED"
    for name in METRICS:
        history = {one.step: one.value for one in client.get_metric_history(found["a"].info.run_id, name)}
        assert history == pytest.approx({int(line["round"]): float(line[name]) for line in lines}, abs=1e-5)


@pytest.mark.needs("mlflow")
@pytest.mark.filterwarnings("ignore")  # MLflow's own
def test_a_place_that_mlflow_cannot_use_is_a_sentence(tmp_path):
    with pytest.raises(SettingError, match="--mlflow is 'gopher://x', and MLflow cannot use it"):
        run(tmp_path / "run", mlflow="gopher://x")
    assert not (tmp_path / "run").exists()


@pytest.mark.needs("mlflow")
@pytest.mark.filterwarnings("ignore")  # MLflow's own
def test_a_run_goes_on_when_mlflow_takes_nothing_any_more(tmp_path, caplog):
    tracker = MlflowTracker(str(tmp_path / "tracking"))
    shutil.rmtree(tmp_path / "tracking")
    (tmp_path / "run").mkdir()
    tracker.begin(tmp_path / "run", RunConfig(), 0)
    tracker.add(POINT)
    tracker.end(True)
    assert "MLflow has not taken a part of this run" in caplog.text


@pytest.mark.parametrize(
    ("module", "settings", "said"),
    [
        ("tensorboardX", LabSettings(tensorboard="on"), r"--tensorboard needs .* 'federated-carts\[tensorboard\]'"),
        ("mlflow", LabSettings(mlflow="x"), r"--mlflow needs .* 'federated-carts\[mlflow\]'"),
    ],
)
def test_a_package_that_is_missing_is_a_sentence(module, settings, said, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SettingError, match=said):
        trackers_of(settings)


def test_a_run_without_trackers_needs_none_of_the_packages():
    assert trackers_of(LabSettings()) == []
