"""Names of a strategy's parameters: its parts' own, and those by which a job may give them."""

from collections.abc import Collection, Mapping
from typing import Final

from fedbus.jobs import JobFault, StrategyConfig
from fedbus.jobs.foreign_keys import ROUND_WORDS
from fedbus.plugins import Preset
from fedbus.strategies.catalog import strategies_taking
from fedbus.strategies.chosen_parts import WHOLE, GivenParameter
from fedbus.strategies.strategy_parts import LoadedParts
from fedbus.text import in_given_order, listed, nearest

SYNONYMS: Final[Mapping[str, str]] = {
    "eta": "server_learning_rate",
    "server_lr": "server_learning_rate",
    "momentum": "server_momentum",
    "mu": "proximal_mu",
}
"""Other systems' names of parameters: read so if a part takes the name here, and not theirs."""


def other_names(preset: Preset, taken: Collection[str]) -> Mapping[str, tuple[str, ...]]:
    """Return the other names by which a job may give parameters, by the name of a parameter.

    Args:
        taken: The names of all parameters of the preset's parts.
    """
    read = {other: own for other, own in SYNONYMS.items() if other not in taken}
    others: dict[str, tuple[str, ...]] = {}
    for other, own in {**read, **preset.renamed}.items():
        if own in taken:
            others[own] = (*others.get(own, ()), other)
    return others


def distribute(
    config: StrategyConfig, id_: str, preset: Preset, parts: LoadedParts
) -> tuple[dict[str, GivenParameter], list[JobFault]]:
    """Return the strategy's parameters under the names of its parts, and faults of names."""
    given: dict[str, GivenParameter] = {}
    faults = []
    for written, value in config.parameters.items():
        key = f"{WHOLE}.parameters.{written}"
        name = _own_name(written, preset, parts)
        if name is None:
            faults.append(_unknown(written, key, id_, preset, parts))
        elif name in given:
            problem = f"{given[name].key} is the same parameter"
            faults.append(JobFault(key=key, problem=problem, hint="give it under one name"))
        else:
            given[name] = GivenParameter(key, value)
    return given, faults


def _own_name(written: str, preset: Preset, parts: LoadedParts) -> str | None:
    """Return the name that the parts have for a parameter; None if no part takes it."""
    for name in (preset.renamed.get(written), written, SYNONYMS.get(written)):
        if name is not None and any(part.takes.takes(name) for part in parts.named):
            return name
    return None


def _unknown(written: str, key: str, id_: str, preset: Preset, parts: LoadedParts) -> JobFault:
    taken = dict.fromkeys(name for part in parts.named for name in part.takes.named)
    takes = f"{id_} takes {in_given_order(taken) or 'none'}"
    if others := strategies_taking(written) or strategies_taking(SYNONYMS.get(written, "")):
        takes = f"{listed(others)} {'has' if len(others) == 1 else 'have'} it; {takes}"
    elif near := nearest(written, (*taken, *preset.renamed, *ROUND_WORDS)):
        takes = f"did you mean '{near}'? {takes}"
    return JobFault(key=key, problem="unknown parameter", hint=takes)
