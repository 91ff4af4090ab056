"""A new task from the template: its names, and the texts of its files. Reads and writes nothing."""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cart_common.process.redaction import shown
from cart_common.process.settings import SettingError

NAME: Final = re.compile(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*")
LONGEST: Final = 40
TEMPLATE_MODULE: Final = "my_task"
TEMPLATE_CLASS: Final = "MyTask"
TEMPLATE_TITLE: Final = "my-task"


@dataclass(frozen=True)
class TaskNames:
    """The names of one task.

    Attributes:
        title: what carts and pages call it, as ``my-task``.
        module: its package, as ``my_task``.
        task_class: its class, as ``MyTask``.
    """

    title: str
    module: str
    task_class: str

    @classmethod
    def of(cls, text: str) -> TaskNames:
        """Return the names of a task that is called ``my-task`` or ``my_task``.

        Raises:
            SettingError: if Python has no such names.
        """
        if not NAME.fullmatch(text) or len(text) > LONGEST:
            raise SettingError(
                f"The name of the task is {shown(text)!r}; it must be a letter, then small letters a to z, digits and "
                f"single dashes between them, as my-task, and no longer than {LONGEST} characters."
            )
        module = text.replace("-", "_")
        task_class = "".join(word.capitalize() for word in module.split("_"))
        for word in (module, task_class):
            if keyword.iskeyword(word):
                raise SettingError(f"The name of the task is {text!r}, and {word} is a word of Python: take another.")
        return cls(module.replace("_", "-"), module, task_class)


def task_files(template: Mapping[str, str], names: TaskNames, commands: Mapping[str, str]) -> dict[str, str]:
    """Return the files of a new task by their names.

    Args:
        template: the files of the template.
        names: stand for those of the template.
        commands: words of the template's commands, and those that do the same here.

    Raises:
        SettingError: if the template means something else by the class's name.
    """
    means_more = any(re.search(rf"\b{names.task_class}\b", text) for text in template.values())
    if means_more and names.task_class != TEMPLATE_CLASS:
        raise SettingError(
            f"The name of the task is {names.title!r}, and {names.task_class} means something else in a task: "
            "take another."
        )
    words = {TEMPLATE_MODULE: names.module, TEMPLATE_CLASS: names.task_class, TEMPLATE_TITLE: names.title}
    for_names = re.compile("|".join(map(re.escape, words)))
    for_commands = re.compile("|".join(rf"^{re.escape(command)}" for command in commands), re.MULTILINE)

    def renamed(text: str) -> str:
        return for_names.sub(lambda found: words[found[0]], text)

    return {
        renamed(file): for_commands.sub(lambda found: commands[found[0]], renamed(text))
        for file, text in template.items()
    }
