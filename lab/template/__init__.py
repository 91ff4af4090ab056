"""What carts learn here: the task ``my_task:MyTask``."""

from .task import MyTask

__all__ = ["MyTask"]
