"""The demo's settings, and the settings of its carts for each task."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cart_common.process.settings import SettingError, option
from child_cart.config import CartSettings

MOST_CLUSTER: Final = CartSettings.cluster_size
SELLING_TASK: Final = "shopping"
"""The task whose rows are sold as bills; the rows of other tasks are sent as they are."""


@dataclass(frozen=True)
class DemoSettings:
    """All settings of the demo; in the environment they are named ``DEMO_…``."""

    carts: int = option(4, "how many carts to run", minimum=2, maximum=64)
    task: str = option("shopping", "what to learn: shopping, digits, or your own class as package.module:Class")
    rounds: int = option(0, "rounds after which to stop and compare; 0 runs until Ctrl-C", minimum=0, maximum=1000)
    bridge_port: int = option(9000, "port of the bridge", minimum=1, maximum=65535)
    first_page_port: int = option(5001, "port of the first cart's pages; the others follow", minimum=1, maximum=65535)
    data: str = option("", "CSV file with rows of your own, split among the carts; empty: the task's starter rows")
    results: str = option("results", "folder in which the summary is saved")
    folder: str = option("", "empty folder to keep everything in, instead of a temporary one")

    @property
    def page_ports(self) -> range:
        """The ports of the carts' pages."""
        return range(self.first_page_port, self.first_page_port + self.carts)


def check(settings: DemoSettings) -> None:
    """Check the settings that depend on each other.

    Raises:
        SettingError: for the first setting that conflicts with another one.
    """
    last = settings.page_ports[-1]
    if last > 65535:
        raise SettingError(
            f"{settings.carts} carts from port {settings.first_page_port} on need port {last}, but "
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
    """The settings of a task's carts: starter rows and rows per round. All others are those that users get."""

    starter_rows: int
    dataset_size: int


# Measured with 4 carts. A partition of digits has about 350 rows. After 200 starter rows the models know their own
# digits so well that the first average already knows most of the ten; the other 150 rows repeat after two rounds. A
# partition of shopping has 2,500 rows. With 300 starter rows and 100 rows per round, carts alone reached 0.48 and
# together 0.86 in 3 rounds; with 200 rows per round, a cart alone sees enough purchases of other months to gain little
# from the other carts.
PLANS: Final = {
    "shopping": Plan(starter_rows=300, dataset_size=100),
    "digits": Plan(starter_rows=200, dataset_size=100),
}
OTHER_TASKS: Final = Plan(starter_rows=100, dataset_size=50)


def plan_for(task: str) -> Plan:
    """Return the plan of a task."""
    return PLANS.get(task, OTHER_TASKS)
