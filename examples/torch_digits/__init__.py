"""Handwritten digits with PyTorch: the task ``examples.torch_digits:TorchDigits``."""

from .task import TorchDigits

__all__ = ["TorchDigits"]
