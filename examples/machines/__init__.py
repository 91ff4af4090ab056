"""Machines that fail: the task ``examples.machines:FailingMachines``."""

from .task import FailingMachines

__all__ = ["FailingMachines"]
