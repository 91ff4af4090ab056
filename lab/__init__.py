"""The laboratory: experiments with simulated carts, with the same rounds, verdicts and averages as in a cart.

``from lab import run`` carries out one experiment; ``federated-carts lab`` is the same on a command line.
"""

from .api import Run, compare, run

__all__ = ["Run", "compare", "run"]
