"""The notebook in docs/: run its cells in order as Jupyter does, and store what they show.

``python -m tests.support.documents.notebook`` renews the stored outputs; with a file and parameters as JSON, it writes
the notebook there.
"""

from __future__ import annotations

import ast
import base64
import io
import json
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
NOTEBOOK = ROOT / "docs/laboratory.ipynb"


def read() -> dict[str, Any]:
    """Return the notebook as the file has it."""
    return json.loads(NOTEBOOK.read_text(encoding="utf-8"))


def code_cells(notebook: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def execute(cells: list[dict[str, Any]], parameters: Mapping[str, object]) -> None:
    """Run code cells, and put their outputs into them.

    Args:
        cells: in their order.
        parameters: replace variables of the cell with the tag ``parameters``.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    variables: dict[str, Any] = {"__name__": "__main__"}
    for number, cell in enumerate(cells, 1):
        cell["execution_count"] = number
        cell["outputs"] = _outputs("".join(cell["source"]), variables, number)
        if "parameters" in cell["metadata"].get("tags", ()):
            variables.update(parameters)


def _outputs(source: str, variables: dict[str, Any], number: int) -> list[dict[str, Any]]:
    tree, value, printed = ast.parse(source), None, io.StringIO()
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    with redirect_stdout(printed):
        exec(compile(tree, f"cell {number}", "exec"), variables)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), variables)
    outputs: list[dict[str, Any]] = []
    if printed.getvalue():
        outputs.append({"output_type": "stream", "name": "stdout", "text": _lines(printed.getvalue())})
    if value is not None:
        shown = {"text/plain": _lines(repr(value))}
        if hasattr(value, "_repr_html_"):
            shown["text/html"] = _lines(value._repr_html_())
        outputs.append({"output_type": "execute_result", "execution_count": number, "metadata": {}, "data": shown})
    return outputs + _figures()


def _figures() -> list[dict[str, Any]]:
    """Return the open figures of pyplot, and close them, as Jupyter does after each cell."""
    import matplotlib.pyplot as plt

    outputs = []
    for number in plt.get_fignums():
        picture = io.BytesIO()
        plt.figure(number).savefig(picture, format="png", dpi=100)
        data = {"image/png": base64.b64encode(picture.getvalue()).decode(), "text/plain": ["<Figure>"]}
        outputs.append({"output_type": "display_data", "metadata": {}, "data": data})
    plt.close("all")
    return outputs


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


if __name__ == "__main__":
    target, parameters = (Path(sys.argv[1]), json.loads(sys.argv[2])) if len(sys.argv) > 2 else (NOTEBOOK, {})
    renewed = read()
    execute(code_cells(renewed), parameters)
    target.write_text(json.dumps(renewed, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
