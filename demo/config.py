"""The demo's settings, and what suits each task."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cart_common.process.settings import SettingError, option

MOST_CLUSTER: Final = 3
SELLING_TASK: Final = "shopping"
"""The task whose rows are bills; those of others are sent as they are."""


@dataclass(frozen=True)
class DemoSettings:
    """All settings of the demo; also ``DEMO_…`` in the environment."""

    carts: int = option(4, "how many carts to run", minimum=2, maximum=64)
    task: str = option("shopping", "what to learn: shopping, digits, or your own class as package.module:Class")
    rounds: int = option(0, "rounds after which to stop and compare; 0 goes on until Ctrl-C", minimum=0, maximum=1000)
    bridge_port: int = option(9000, "port of the bridge", minimum=1, maximum=65535)
    first_page_port: int = option(5001, "port of the first cart's pages; the others follow", minimum=1, maximum=65535)
    folder: str = option("", "empty folder to keep everything in, instead of a temporary one")

    @property
    def page_ports(self) -> range:
        """The ports of the carts' pages."""
        return range(self.first_page_port, self.first_page_port + self.carts)


def check(settings: DemoSettings) -> None:
    """Hold against each other what single values cannot tell.

    Raises:
        SettingError: for the first thing that does not fit.
    """
    last = settings.page_ports[-1]
    if last > 65535:
        raise SettingError(
            f"{settings.carts} carts from port {settings.first_page_port} on would need port {last}; "
            "the last one is 65535. Start lower: make run PAGES=5001."
        )
    if settings.bridge_port in settings.page_ports:
        raise SettingError(
            f"The bridge's port {settings.bridge_port} is one of the carts' ports "
            f"{settings.first_page_port} to {last}. Choose another: make run PORT={last + 1 if last < 65535 else 9000}."
        )
    folder = Path(settings.folder)
    if settings.folder and folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise SettingError(f"--folder (DEMO_FOLDER) is {settings.folder!r}; it must be a new or an empty folder.")


@dataclass(frozen=True)
class Plan:
    """How the carts of a task are set up here: what a round starts from, and how its models are judged and weighed."""

    starter_rows: int
    dataset_size: int
    # Uniform: all have seen equally many rows, and a cart that has just trained on its own few months or digits, and
    # has half forgotten the others, brings the most news. Weights by accuracy thin out just that (digits after
    # 5 rounds: 0.842 to 0.882 from cart to cart; uniform: 0.892 on all). So the window is wide open below, too.
    weighting: str = "uniform"
    accept_backward: float = 75.0


# Measured with 4 carts. A share of digits has about 350 rows: from 200 to start with, the models know their own digits
# so well that the first average already knows most of the ten; the other 150 come again after two rounds. A share of
# shopping has 2,500 rows: from 300, and with 100 a round, carts alone came to 0.48 and together to 0.86 in 3 rounds;
# with 200 a round, a cart alone sees so many purchases of other months that it owes little to the others.
PLANS: Final = {
    "shopping": Plan(starter_rows=300, dataset_size=100),
    "digits": Plan(starter_rows=200, dataset_size=100),
}
OTHER_TASKS: Final = Plan(starter_rows=100, dataset_size=50)


def plan_for(task: str) -> Plan:
    """Return the plan of a task."""
    return PLANS.get(task, OTHER_TASKS)
