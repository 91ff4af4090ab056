"""Average K models: our function, compared with a memory copy of the same bytes and with NumPy's weighted average.

Prints milliseconds (medians of interleaved runs), ratios, and the peak of additional memory as a multiple of a model.
"""

from __future__ import annotations

import argparse
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from benchmarks.machine import medians_s
from child_cart.model.aggregation import average

REPEATS = 15


def peak_bytes(work: Callable[[], object]) -> int:
    """Return the peak of the memory that the work allocates."""
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def main() -> None:
    """Print the table."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print(
        f"{'model':>8} {'K':>3} {'copy ms':>9} {'NumPy ms':>9} {'ours ms':>9} {'copy/ours':>10} {'NumPy/ours':>11} "
        f"{'NumPy mem':>10} {'our mem':>8}"
    )
    for size_mb in (1, 25):
        for count in (2, 4, 8):
            random = np.random.default_rng(1)
            models = [[random.standard_normal(size_mb * 250_000).astype(np.float32)] for _ in range(count)]
            shares = [1.0 + place for place in range(count)]
            target = np.empty_like(models[0][0])

            def copy(models: list[list[np.ndarray]] = models, target: np.ndarray = target) -> None:
                for model in models:
                    np.copyto(target, model[0])

            def numpy_average(models: list[list[np.ndarray]] = models, shares: list[float] = shares) -> object:
                return np.average([model[0] for model in models], axis=0, weights=shares).astype(np.float32)

            def ours(models: list[list[np.ndarray]] = models, shares: list[float] = shares) -> object:
                return average(models, shares)

            medians = medians_s({"copy": copy, "numpy": numpy_average, "ours": ours}, REPEATS)
            times = {name: 1000 * seconds for name, seconds in medians.items()}
            model_bytes = models[0][0].nbytes
            print(
                f"{size_mb:>5} MB {count:>3} {times['copy']:>9.2f} {times['numpy']:>9.2f} {times['ours']:>9.2f} "
                f"{times['copy'] / times['ours']:>10.2f} {times['numpy'] / times['ours']:>11.2f} "
                f"{peak_bytes(numpy_average) / model_bytes:>9.1f}x {peak_bytes(ours) / model_bytes:>7.1f}x"
            )


if __name__ == "__main__":
    main()
