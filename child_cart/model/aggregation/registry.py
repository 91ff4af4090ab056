"""The aggregation rules by name: the choices of the setting ``weighting``."""

from __future__ import annotations

from typing import Final

from .accuracy import AccuracyRule
from .base import AggregationRule
from .samples import SamplesRule
from .uniform import UniformRule

DEFAULT_RULE: Final = AccuracyRule.name
RULES: Final[dict[str, AggregationRule]] = {rule.name: rule for rule in (AccuracyRule(), SamplesRule(), UniformRule())}
