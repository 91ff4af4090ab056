"""The documentation says what the code does."""

import re
from dataclasses import MISSING, fields
from pathlib import Path

import pytest
from support.carts.shown import Shown

from cart_common.wire.chunk import MAX_SEQUENCE
from cart_common.wire.fields import MAX_COUNT
from cart_common.wire.messages import KINDS, Code
from child_cart.config import CartSettings
from child_cart.model.codec import _OPCODES
from child_cart.transfers.terms import OfferTerms, RequestTerms
from tests.support.browser import screenshots
from tests.support.documents import sentences
from tests.support.documents.env_example import COMPOSE, EXAMPLE, compose_lists, example_lists, with_lists
from tests.support.documents.setting_tables import tables

ROOT = Path(__file__).parents[2]
RENEW = "python -m tests.support.documents.setting_tables"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
PROTOCOL = (ROOT / "docs/protocol.md").read_text()
OPERATIONS = (ROOT / "docs/operations.md").read_text()
SHOWN = {"": '`""`', 0: "0", (): "`[]`"}


def section(heading: str) -> str:
    """Return a chapter of the protocol."""
    return PROTOCOL.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def source_of(part: str) -> str:
    """Return the source of a part of the programs in one text."""
    return "".join(path.read_text() for path in sorted((ROOT / part).glob("**/*.py")))


@pytest.mark.parametrize("program", ["cart", "bridge"])
def test_the_settings_tables_are_the_settings(program):
    assert tables()[program] in (ROOT / "docs/settings.md").read_text(), RENEW


def test_the_lists_of_settings_for_containers_are_the_settings():
    for file, lists in ((COMPOSE, compose_lists()), (EXAMPLE, example_lists(COMPOSE.read_text()))):
        assert with_lists(file.read_text(), lists) == file.read_text(), RENEW


def test_the_settings_table_of_the_operators_page_is_right():
    rows = re.findall(r"^\| `--([a-z-]+)` \| (`.*?`|none) \|", OPERATIONS, re.MULTILINE)
    assert len(rows) > 8
    for flag, shown in rows:
        default = getattr(CartSettings(), flag.replace("-", "_"))
        assert shown.strip("`") == (
            "none" if default == "" else f"{default:g}" if default.__class__ is float else str(default)
        )


def test_the_protocol_names_every_message_and_its_fields():
    for name, kind in KINDS.items():
        assert re.search(rf"\b{name}\b", PROTOCOL), name
        for field in kind.__dataclass_fields__.keys() - {"KIND"}:
            assert field in PROTOCOL, f"{name}.{field}"


def test_the_protocol_says_what_each_field_may_hold():
    said = {}
    for name, kind in KINDS.items():
        for entry in fields(kind):
            form = entry.metadata["form"].replace(str(MAX_COUNT), "2^53 - 1").replace(str(MAX_SEQUENCE), "2^32 - 1")
            if form == f"one of {', '.join(Code)}":
                form = "one of the [codes](#codes)"
            if entry.default is not MISSING:
                form += f"; {SHOWN[entry.default]} where it is missing"
            said.setdefault((entry.name, form), []).append(name)
    rows = re.findall(r"^\| `(\w+)` \| ([A-Z, ]+) \| (.*?) \|", section("Fields"), re.MULTILINE)
    assert rows == [(name, ", ".join(kinds), form) for (name, form), kinds in said.items()]


def test_the_protocol_says_what_terms_may_hold():
    said = {}
    for name, kind in (("request", RequestTerms), ("offer", OfferTerms)):
        for entry in fields(kind):
            form = entry.metadata["form"].replace(str(MAX_COUNT), "2^53 - 1")
            form += "" if entry.default is MISSING else "; it may be missing"
            said.setdefault((entry.name, form), []).append(name)
    rows = re.findall(r"^\| `(\w+)` \| ([a-z, ]+) \| (.*?) \|", section("Transfers"), re.MULTILINE)
    assert rows == [(name, ", ".join(kinds), form) for (name, form), kinds in said.items()]


def test_the_protocol_says_in_what_each_code_is_said():
    bridge, cart = source_of("parent_cart"), source_of("child_cart/network") + source_of("child_cart/transfers")
    heard = {  # who says a code, as the sources do it: what breaks a connection, refuses a request, ends a transfer
        "ERROR": re.findall(r"Violation\(\s*Code\.(\w+)", bridge),
        "ERROR with `request`": re.findall(r"ErrorMessage\(\s*Code\.(\w+)", bridge),
        "CANCEL": re.findall(r"(?:refuse\([^()]*|_end\([^()]*)\bCode\.(\w+)", bridge)
        + re.findall(r"(?:TransferError\(|_refuse\([^()]*)\s*Code\.(\w+)", cart),
    }
    for code, said_in in re.findall(r"^\| `([A-Z_]+)` \| (.*?) \|", section("Codes"), re.MULTILINE):
        expected = {way for way, codes in heard.items() if code in codes}
        assert set(said_in.split(", ")) - {"nothing"} == expected, code


def test_the_protocol_names_the_opcodes_of_the_payload():
    (named,) = re.findall(r"names them, are (.*?)\. Any other", section("Transfers"), re.DOTALL)
    assert set(re.findall(r"`(\w+)`", named)) == _OPCODES


def test_the_protocol_explains_every_code_and_the_programs_use_it():
    sources = source_of("child_cart") + source_of("parent_cart")
    for code in Code:
        assert f"| `{code}` |" in PROTOCOL, code
        assert f"Code.{code}" in sources, f"{code} is never sent"


def test_the_api_page_lists_every_address_once(tmp_path):
    rules = Shown(tmp_path).app.url_map.iter_rules()
    page = (ROOT / "docs/api.md").read_text()
    for rule in rules:
        if rule.rule.startswith("/api/"):
            (method,) = rule.methods - {"HEAD", "OPTIONS"}
            address = re.sub(r"<[^>]*?(\w+)>", r"<\1>", rule.rule)  # without what only Flask understands
            assert len(re.findall(rf"\| `{method} {re.escape(address)}[`?]", page)) == 1, address


def test_every_page_is_shown_at_every_width():
    shown = set(re.findall(r"images/([\w-]+)\.png", (ROOT / "docs/pages.md").read_text()))
    assert shown == {f"{view}-{width}" for view in screenshots.VIEWS for width in screenshots.WIDTHS}
    assert shown == {path.stem for path in (ROOT / "docs/images").iterdir()}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_pictures_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if not target.startswith(("http:", "https:", "mailto:")):
            assert (page.parent / target).exists(), target


def test_files_that_the_architecture_names_exist():
    text = (ROOT / "docs/architecture.md").read_text()
    named = re.findall(r"`((?:[a-z_]+/)+\w+\.py)", text)
    assert named
    for name in named:
        assert any((ROOT / part / name).exists() for part in ("", "cart_common", "child_cart", "parent_cart")), name


def examples() -> list[str]:
    """Return the pieces of Python of the page about tasks."""
    return re.findall(r"```python\n(.*?)```", (ROOT / "docs/own-model.md").read_text(), re.DOTALL)


def test_the_example_metric_of_the_docs_works():
    import numpy as np

    from child_cart.model.task import KerasTask
    from child_cart.model.task_metrics import metric_of

    (source,) = (one for one in examples() if "TaskMetric" in one)
    names = {"KerasTask": KerasTask}
    exec(source, names)
    metric = metric_of(names["MyTask"](), None)
    assert metric.value(np.array([[1.0], [2.0]], np.float32), np.array([1.0, 4.0])) == 2
    assert metric.metric.words(2.0) == "squared error 2 mm²"


def test_the_example_task_of_the_docs_works(tmp_path, monkeypatch):
    source = examples()[0]
    assert len([line for line in source.splitlines() if line.strip()]) <= 30
    (tmp_path / "machines.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    from child_cart.model.task import load_task

    task = load_task("machines:Machines")
    row = task.parse_row({"heat": "0.5", "noise": 1, "load": 2.0, "fails": "1"})
    inputs, targets = task.arrays([row, row])
    assert inputs.shape == (2, 3)
    assert targets.tolist() == [1, 1]


ERRORS = {"SettingError", "StoreError", "StoreAway", "IdentityError", "TaskError", "CsvError", "FleetKeyError"}
ERRORS |= {"ArchiveError", "CsvFileError", "JsonFileError", "TrainerDied"}


def first_cells(heading: str) -> list[str]:
    """Return what stands in backticks in the first cells of a section's tables."""
    section = OPERATIONS.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return [
        cell
        for line in section.splitlines()
        if line.startswith("| `")
        for cell in re.findall("`([^`]+)`", line.split(" | ")[0])
    ]


def test_the_operators_page_explains_every_log_line_and_no_other():
    explained = first_cells("Log lines")
    assert len(set(explained)) == len(explained)
    assert set(explained) == sentences.log_lines(), "docs/operations.md, Log lines"


def test_the_operators_page_says_what_to_do_about_every_error():
    cells = first_cells("When something does not work")
    patterns = {
        cell: re.compile(re.escape(cell).replace("…", ".*") + ".*", re.DOTALL)
        for cell in cells
        if "_" not in cell or " " in cell
    }
    said = sentences.raised(ERRORS)
    assert len(said) > 60
    for sentence in said:
        assert any(pattern.fullmatch(sentence) for pattern in patterns.values()), sentence
    for cell, pattern in patterns.items():
        assert any(pattern.fullmatch(sentence) for sentence in said) or cell in set(Code), f"no source says: {cell}"
    assert set(Code) <= set(cells)
