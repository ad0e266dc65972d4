"""Cohort of a job with a privacy mechanism, whose key states it: `round.agents` and the quorum."""

from collections.abc import Mapping
from typing import Any, Final

from fedbus.jobs.field_types import number_of
from fedbus.limits import MAX_COHORT_AGENTS

POISSON: Final = "poisson"
"""Value of `privacy-mechanisms.accounting.sampling` with which a round has no quorum."""


def with_cohort(tree: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return a job file with the size of its cohorts, where its privacy mechanism states it.

    What the file states itself is left as it is, and so is what has a fault.
    """
    if not isinstance(tree, dict) or not isinstance(tree.get("round"), dict | None):
        return tree
    settings: dict[str, Any] = dict(tree.get("round") or {})
    mechanisms = _objects(tree.get("privacy-mechanisms"))
    agents = _stated(mechanisms)
    if agents is not None and settings.get("agents") is None:
        settings["agents"] = agents
    poisson = mechanisms.get("accounting", {}).get("sampling") == POISSON
    if poisson and settings.get("quorum") is None:
        settings["quorum"] = 0
    return {**tree, "round": settings} if settings != (tree.get("round") or {}) else tree


def _objects(value: object) -> Mapping[str, Mapping[str, Any]]:
    if not isinstance(value, dict):
        return {}
    return {name: each for name, each in value.items() if isinstance(each, dict)}


def _stated(mechanisms: Mapping[str, Mapping[str, Any]]) -> int | None:
    for mechanism in mechanisms.values():
        number = number_of(mechanism.get("num_sampled_clients"))
        if number is not None and number.is_integer() and 1 <= number <= MAX_COHORT_AGENTS:
            return int(number)
    return None
