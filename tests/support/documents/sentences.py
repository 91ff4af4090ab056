"""What the programs say, read from their source: log lines, and the sentences of errors. What varies is shown as …"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[3]
LEVELS = {"info": 0, "warning": 0, "error": 0, "exception": 0, "log": 1}
"""The methods of a logger, and which of their arguments is the text."""
SEVERAL = re.compile("……+")
PLACE = re.compile(r"%(?:\.\d+)?[a-z]")


def sources() -> Iterator[ast.AST]:
    """Give the parsed files of both programs."""
    for part in ("cart_common", "child_cart", "parent_cart"):
        for path in sorted((ROOT / part).rglob("*.py")):
            yield ast.parse(path.read_text(), str(path))


def text_of(node: ast.AST) -> str | None:
    """Return the text of an expression with … for what varies; None if it is no text that stands there."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) or "…" for part in node.values)
    return None


def log_lines() -> set[str]:
    """Return what the programs log at INFO and above, and what carts note as events."""
    found = set()
    for tree in sources():
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
                continue
            name, owner = node.func.attr, node.func.value
            if name in ("note", "_note") or (name in LEVELS and isinstance(owner, ast.Name) and owner.id == "log"):
                text = text_of(node.args[LEVELS.get(name, 0)])
                if text is not None:
                    found.add(SEVERAL.sub("…", PLACE.sub("…", text)))
    return {line for line in found if re.search("[a-z]", line)}


def raised(kinds: set[str]) -> set[str]:
    """Return the sentences with which errors of these classes are made."""
    found = set()
    for tree in sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in kinds and node.args:
                text = text_of(node.args[0])
                if text is not None:
                    found.add(text)
    return {sentence for sentence in found if re.search("[a-z]", sentence)}
