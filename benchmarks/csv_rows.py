"""Read a CSV file of rows as a cart does: its head in the cart's process, a sample of it in the trainer.

Each length is read in a process of its own. Prints the seconds of both and the memory that reading has added, and the
seconds of the csv module alone over the same file.
"""

from __future__ import annotations

import argparse
import csv
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from child_cart.model.csv_rows import check_file, sample_rows
from child_cart.model.shopping import STARTER_ROWS, Shopping

REPEATS = 3


def write(path: Path, lines: int) -> None:
    """Write a file of this many purchases."""
    with open(path, "w", encoding="utf-8") as file:
        file.write("Month;Gender;Item\n")
        file.writelines(f"{number % 12 + 1};{number % 2};{number % 6 + 1}\n" for number in range(lines))


def measured(path: Path) -> dict[str, float]:
    """Return the seconds of head, sample and the csv module alone, and the megabytes that the sample has added."""
    task = Shopping()
    started = time.perf_counter()
    check_file(task, path)
    head_s = time.perf_counter() - started
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    sample_rows(task, path, STARTER_ROWS, seed=1)
    sample_s = time.perf_counter() - started
    added_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb
    started = time.perf_counter()
    with open(path, encoding="utf-8", newline="") as file:
        for _ in csv.reader(file, delimiter=";"):
            pass
    return {"head": head_s, "sample": sample_s, "csv": time.perf_counter() - started, "megabytes": added_kb / 1000}


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", default="100000,1000000", help="lengths of the files, with commas between them")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measured(given.one)))
        return
    print("     lines   head s   sample s   csv alone s   sample / csv   MB added")
    for lines in map(int, given.lines.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "rows.csv"
            write(path, lines)
            command = [sys.executable, __file__, "--one", str(path)]
            runs = [json.loads(subprocess.check_output(command)) for _ in range(REPEATS)]
        best = {name: min(run[name] for run in runs) for name in runs[0]}
        print(
            f"{lines:>10,}   {best['head']:6.3f}   {best['sample']:8.2f}   {best['csv']:11.2f}   "
            f"{best['sample'] / best['csv']:12.1f}   {best['megabytes']:8.1f}"
        )


if __name__ == "__main__":
    main()
