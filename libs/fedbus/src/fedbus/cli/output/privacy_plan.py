"""Plan of a fleet's privacy as tables and a picture for users, and as JSON for programs."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from fedbus.cli.output import display
from fedbus.cli.output.log_plot import draw_log_plot
from fedbus.privacy.planned_fleet import PlannedFleet, PlannedMechanism
from fedbus.text import counted

Curves = Mapping[str, Sequence[tuple[float, float]]]
"""For each mechanism: ε and the error of the path, from little noise to much."""

_DIGITS = 3


def show_plan(fleet: PlannedFleet, planned: Sequence[PlannedMechanism], curves: Curves) -> None:
    """Print the plan: a table, what the figures depend on, error against ε, and job keys."""
    display.show(
        f"ε {fleet.epsilon:g} at δ {fleet.delta:g} after {counted(fleet.rounds, 'round')} of "
        f"{fleet.cohort} of {counted(fleet.agents, 'agent')}:"
    )
    display.print_table(
        ("NAME", "MECHANISM", "PROTECTS", "NOISE MULTIPLIER", "NOISE", "PATH ERROR"),
        [
            (
                each.name,
                each.terms.mechanism,
                each.terms.unit,
                f"{each.noise_multiplier:g}",
                f"{each.deviation:.{_DIGITS}g}",
                "" if each.path_error is None else f"{each.path_error:.{_DIGITS}g}",
            )
            for each in planned
        ],
        nothing="",
    )
    for each in planned:
        display.show(f"{each.name}: {each.note}")
    display.print_verbatim("\n" + draw_log_plot(distinct(curves), "ε", "PATH ERROR"))
    display.show("\nkeys of a job file; clipping norms are examples:")
    for each in planned:
        display.print_verbatim(f"\n{each.name}:\n{_pasted(each.job)}")


def plain_plan(
    fleet: PlannedFleet, planned: Sequence[PlannedMechanism], curves: Curves
) -> dict[str, Any]:
    """Return the plan as values of JSON."""
    return {
        "epsilon": fleet.epsilon,
        "delta": fleet.delta,
        "rounds": fleet.rounds,
        "agents": fleet.agents,
        "cohort": fleet.cohort,
        "accountant": fleet.accountant,
        "mechanisms": [
            {
                "name": each.name,
                "mechanism": each.terms.mechanism,
                "unit": each.terms.unit,
                "relation": each.terms.relation,
                "sampling": each.terms.sampling,
                "delta": each.terms.delta,
                "participations": each.participations,
                "noise_multiplier": each.noise_multiplier,
                "noise": each.deviation,
                "path_error": each.path_error,
                "note": each.note,
                "job": each.job,
                "curve": [
                    {"epsilon": epsilon, "path_error": error}
                    for epsilon, error in curves.get(each.name, ())
                ],
            }
            for each in planned
        ],
    }


def _pasted(job: Mapping[str, Any]) -> str:
    """Format keys with their values, one line each, as they stand in a job file."""
    return ",\n".join(
        f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in job.items()
    )


def distinct(curves: Curves) -> Curves:
    """Return each curve once, with the names of all mechanisms that have it."""
    names: dict[tuple[tuple[float, float], ...], list[str]] = {}
    for name, points in curves.items():
        names.setdefault(tuple(points), []).append(name)
    return {" = ".join(same): points for points, same in names.items()}
