"""A small head on a large frozen base: the task ``examples.frozen_base:FrozenBase``."""

from .task import FrozenBase

__all__ = ["FrozenBase"]
