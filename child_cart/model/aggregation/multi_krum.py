"""The average of the models that are nearest to most others (Multi-Krum: Blanchard et al., NeurIPS 2017)."""

from __future__ import annotations

from .krum import Krum


class MultiKrum(Krum):
    """Average the n - f models with the best scores of Krum."""

    chosen_all_but_hostile = True
