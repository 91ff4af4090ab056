"""What is ready for Prometheus and Grafana goes by metrics, labels and values that the programs really have."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.processes.programs import ROOT, BridgeProcess, CartProcess, running, wait_for

from child_cart.db.records import Outcome
from child_cart.model.verdict import VerdictReason

MONITORING = ROOT / "deploy/monitoring"
METRIC = re.compile(r"\b(?:cart|bridge|process)_[a-z_]+\b")
ALERTS = (MONITORING / "alerts.yml").read_text()
DASHBOARD = json.loads((MONITORING / "grafana.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
EXPRESSIONS = [target["expr"] for panel in PANELS for target in panel["targets"]]
PAGE = (ROOT / "docs/operations.md").read_text()
promtool = pytest.mark.needs("promtool")


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a bridge and a cart of this tree answer to Prometheus, by job."""
    folder = tmp_path_factory.mktemp("scraped")
    bridge = BridgeProcess(folder)
    cart = CartProcess(folder / "cart", bridge.url)
    with running(bridge, cart):
        wait_for(lambda: cart.status().get("stage") == "SERVING")
        wait_for(lambda: cart.status()["link"]["state"] == "ATTACHED")
        return {"bridge": fetched(bridge.port), "cart": fetched(cart.port, cart.token)}


def fetched(port: int, token: str = "") -> str:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read().decode()


def labels_of(text: str) -> dict[str, set[str]]:
    """Return the names of metrics, also of those that have no sample yet, each with the names of its labels."""
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        found[family.name + ("_total" if family.type == "counter" else "")] = set()
        found |= {sample.name: set(sample.labels) for sample in family.samples}
    return found


@pytest.fixture(scope="module")
def known(scraped: dict[str, str]) -> dict[str, set[str]]:
    return labels_of(scraped["bridge"]) | labels_of(scraped["cart"])


def expressions_of_alerts() -> list[str]:
    """Return the expression of each alert; some go over several lines."""
    found = re.findall(r"expr: (?:>-\n)?(.*?)\n +(?:for|labels):", ALERTS, re.DOTALL)
    assert len(found) == ALERTS.count("- alert:") >= 10
    return found


@pytest.mark.parametrize("expression", [*expressions_of_alerts(), *EXPRESSIONS])
def test_each_expression_asks_for_what_there_is(expression: str, known: dict[str, set[str]]) -> None:
    named = set(METRIC.findall(expression))
    assert named <= known.keys()
    assert named or "up{" in expression
    for metric, selectors in re.findall(r"((?:cart|bridge|process)_[a-z_]+)\{([^}]*)\}", expression):
        labels = set(re.findall(r"(\w+)=", selectors))
        assert labels <= known[metric] | {"job", "instance"}, metric
    grouped = set(re.findall(r"\w+", ",".join(re.findall(r"\bby \(([^)]*)\)", expression))))
    assert grouped <= {"instance"}.union(*(known[metric] for metric in named))


def test_the_values_that_are_asked_for_exist() -> None:
    counted = {*Outcome, *VerdictReason, "bridge", "cart"}
    for path in ROOT.glob("parent_cart/**/*.py"):
        counted |= set(re.findall(r'counters\["(\w+)"\]', path.read_text()))
    for expression in [*expressions_of_alerts(), *EXPRESSIONS]:
        for label, values in re.findall(r'(outcome|reason|event|job)=~?"([^"]+)"', expression):
            assert set(values.split("|")) <= counted, label


def test_the_page_lists_every_metric_and_no_other(known: dict[str, set[str]]) -> None:
    listed = set(re.findall(r"^\| `((?:cart|bridge)_\w+)", PAGE, re.MULTILINE))
    assert listed == {name for name in known if not name.startswith("process_")}


def test_the_page_explains_every_alert() -> None:
    assert set(re.findall(r"- alert: (\w+)", ALERTS)) == set(
        re.findall(r"^\| `([A-Z]\w+[a-z])` \|", PAGE, re.MULTILINE)
    )


def test_the_dashboard_is_whole() -> None:
    places = [tuple(panel["gridPos"].values()) for panel in DASHBOARD["panels"]]
    assert len(set(places)) == len(places)
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(places)
    cells = [
        (x, y)
        for height, width, left, top in places
        for x in range(left, left + width)
        for y in range(top, top + height)
    ]
    assert len(set(cells)) == len(cells), "panels lie on each other"
    assert max(x for x, _ in cells) == 23
    assert all(panel["datasource"]["uid"] == "${datasource}" for panel in PANELS)
    assert {entry["name"] for entry in DASHBOARD["templating"]["list"]} == {"datasource", "cart"}


@promtool
def test_the_alerts_fire_when_they_should(tmp_path: Path) -> None:
    shutil.copy(MONITORING / "alerts.yml", tmp_path)
    shutil.copy(ROOT / "tests/alerts.yml", tmp_path / "test.yml")
    ended = subprocess.run(["promtool", "test", "rules", "test.yml"], cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@promtool
def test_prometheus_takes_the_configuration(tmp_path: Path) -> None:
    shutil.copy(MONITORING / "alerts.yml", tmp_path)
    (tmp_path / "token").write_text("a token")
    text = (MONITORING / "prometheus.yml").read_text()
    (tmp_path / "prometheus.yml").write_text(re.sub(r"/etc/prometheus/[\w-]+", str(tmp_path / "token"), text))
    command = ["promtool", "check", "config", tmp_path / "prometheus.yml"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "rules found" in ended.stdout


@promtool
@pytest.mark.parametrize("job", ["bridge", "cart"])
def test_prometheus_has_nothing_against_the_metrics(scraped: dict[str, str], job: str) -> None:
    ended = subprocess.run(["promtool", "check", "metrics"], input=scraped[job], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
