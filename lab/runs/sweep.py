"""Runs over seeds and settings: each combination in a folder of its own, those that are complete only once."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cart_common.process.settings import SettingError

from ..config import RunConfig
from .run_folder import RunFolder


@dataclass(frozen=True)
class PlannedRun:
    """One run of a sweep, and its folder."""

    config: RunConfig
    folder: RunFolder

    @property
    def name(self) -> str:
        """Its settings and seed in short."""
        return self.folder.path.name


def variations(texts: Sequence[str]) -> dict[str, list[str]]:
    """Return what varies: ``["aggregator=uniform,accuracy"]`` is two values of one setting.

    Raises:
        SettingError: if a text is of another form, or a setting is named twice.
    """
    found: dict[str, list[str]] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        if not (name and equals and values):
            raise SettingError(f"--vary is {text!r}; it must be SETTING=VALUE,VALUE as aggregator=uniform,accuracy.")
        name = name.replace("-", "_")
        if name in found:
            raise SettingError(f"--vary names {name} twice: give all its values in one, as {name}=A,B.")
        found[name] = [value.strip() for value in values.split(",")]
    return found


def planned(base: RunConfig, varied: Mapping[str, Sequence[str]], seeds: int, out: Path) -> list[PlannedRun]:
    """Return all runs: each combination of values with each seed from that of ``base`` on.

    Raises:
        SettingError: if a setting does not exist, or has a wrong value, or a folder has a run of other settings.
    """
    if "seed" in varied:
        raise SettingError("--vary seed: seeds vary by --seeds N.")
    runs = []
    for values in itertools.product(*varied.values()):
        chosen = dict(zip(varied, values, strict=True))
        for seed in range(base.lab.seed, base.lab.seed + seeds):
            config = RunConfig.of({**base.values(), **chosen, "seed": seed})
            runs.append(PlannedRun(config, RunFolder(out / _folder_name(chosen, seed))))
    for run in runs:
        _check_own(run)
    return runs


def _check_own(run: PlannedRun) -> None:
    if not run.folder.is_begun:
        return
    planned, there = run.config.deciding(), run.folder.config().deciding()
    differing = [f"{name} {there[name]!r}, not {planned[name]!r}" for name in planned if there[name] != planned[name]]
    if differing:
        raise SettingError(
            f"The run in {run.folder.path} has {'; '.join(differing)}. Name another folder with --out, or remove it."
        )


def _folder_name(chosen: Mapping[str, str], seed: int) -> str:
    words = [f"{name}-{value or 'none'}" for name, value in chosen.items()]
    text = "_".join([*words, f"seed-{seed}"])
    return "".join(sign if sign.isalnum() or sign in "-_." else "-" for sign in text)
