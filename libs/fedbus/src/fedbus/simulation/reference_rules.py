"""Aggregators a second time, on whole arrays: what the oracle expects of a combined update. Pure.

Written from the papers, and without `strategies`, so that one mistake is not made twice.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fedbus.training.params import PluginChoice
from fedbus.wire.round_records import Contributor

Vector = NDArray[np.float64]
Updates = NDArray[np.float64]
"""The trained numbers of all updates, shape (agents, numbers)."""

TIE = 1e-9
"""Relative difference up to which two scores count as equal: either update may be used."""
CLOSE = 1e-12
"""Relative difference up to which a coefficient is the expected one."""

WEIGHS_ONE: Final = frozenset({"mean"})
"""Aggregators that weigh each update alone; its weight then holds for every tensor of it."""
WEIGHS_ALL: Final = frozenset(
    {"fedavgopt", "fednova", "geometric-median", "krum", "multi-krum", "norm-clipping", "qfedavg"}
)
"""Aggregators that find the coefficients of trained tensors; others are means by examples."""


def coefficient_fault(
    rule: PluginChoice, contributors: Sequence[Contributor], base: float, updates: Updates
) -> str | None:
    """Return why the coefficients of a record cannot be those of its aggregator.

    Return None if they can, or if the rule is none of `REFERENCE_COEFFICIENTS`.

    Args:
        base: The coefficient of the base.
    """
    stated = [one.coefficient for one in contributors]
    if any(found is None for found in stated):
        if not all(found is None for found in stated):
            return "some updates have a coefficient, and some have none"
        numberwise = rule.id in REFERENCE_COMBINATIONS or rule.id not in REFERENCE_COEFFICIENTS
        return None if numberwise else f"aggregator {rule.id!r} has no coefficients"
    found = np.array(stated, np.float64)
    if not (np.isfinite(found).all() and np.isfinite(base)):
        return "a coefficient is not finite"
    check = REFERENCE_COEFFICIENTS.get(rule.id)
    if check is None:
        return None
    if base != 1:
        return f"aggregator {rule.id!r} leaves the base as it is, whose coefficient is {base}"
    return check(rule.parameters, contributors, found, updates)


def reference_combination(rule: PluginChoice, blocks: Updates) -> Vector | None:
    """Return the updates that a rule uses, combined number by number; None if it is not ours.

    Args:
        blocks: Numbers of the updates that are used, shape (agents, numbers).
    """
    combine = REFERENCE_COMBINATIONS.get(rule.id)
    return None if combine is None else combine(rule.parameters, blocks)


def _mean(
    parameters: Mapping[str, object],
    contributors: Sequence[Contributor],
    found: Vector,
    _updates: Updates,
) -> str | None:
    """McMahan et al. 2017, arXiv 1602.05629; unweighted as in SCAFFOLD and FedDyn.

    In private jobs the sum is divided by a fixed number, as in arXiv 1710.06963.
    """
    weighted, divisor = parameters.get("weighted", True), parameters.get("divisor")
    counts = np.array([one.examples if weighted else 1 for one in contributors], np.float64)
    expected = counts / (counts.sum() if divisor is None else float(str(divisor)))
    if np.allclose(found, expected, rtol=CLOSE, atol=0):
        return None
    return f"the coefficients are {found.tolist()}, where a mean has {expected.tolist()}"


def _krum(
    parameters: Mapping[str, object],
    contributors: Sequence[Contributor],
    found: Vector,
    updates: Updates,
) -> str | None:
    """Blanchard et al. 2017, Machine Learning with Adversaries: one update, or a given number."""
    return _krum_fault(parameters, contributors, found, updates, 1)


def _multi_krum(
    parameters: Mapping[str, object],
    contributors: Sequence[Contributor],
    found: Vector,
    updates: Updates,
) -> str | None:
    """El Mhamdi et al. 2019, arXiv 1905.04374: n - f - 2 updates, unless a number is given."""
    malicious = int(str(parameters.get("num_malicious_clients", 0)))
    return _krum_fault(parameters, contributors, found, updates, len(updates) - malicious - 2)


def _krum_fault(
    parameters: Mapping[str, object],
    contributors: Sequence[Contributor],
    found: Vector,
    updates: Updates,
    usual: int,
) -> str | None:
    malicious = int(str(parameters.get("num_malicious_clients", 0)))
    keeps = int(str(parameters.get("num_clients_to_keep", 0))) or usual
    used = found != 0
    if used.sum() != keeps or not np.allclose(found[used], 1 / keeps, rtol=CLOSE, atol=0):
        return f"the coefficients are {found.tolist()}, where {keeps} updates have {1 / keeps}"
    scores = np.array([_krum_score(at, updates, malicious) for at in range(len(updates))])
    if used.all() or scores[used].max() <= scores[~used].min() * (1 + TIE):
        return None
    worst, best = _where(used, scores, np.argmax), _where(~used, scores, np.argmin)
    return (
        f"{contributors[worst].agent} is used with the score {scores[worst]:.6g}, and not"
        f" {contributors[best].agent} with {scores[best]:.6g}"
    )


def _where(among: NDArray[np.bool_], scores: Vector, best: Callable[[Vector], np.intp]) -> int:
    return int(np.flatnonzero(among)[best(scores[among])])


def _krum_score(at: int, updates: Updates, malicious: int) -> float:
    """Return the sum of the squared distances of an update to those closest to it."""
    others = np.delete(updates, at, axis=0)
    distances = sorted(float(np.square(other - updates[at]).sum()) for other in others)
    return sum(distances[: max(1, len(updates) - malicious - 2)])


def _median(_parameters: Mapping[str, object], blocks: Updates) -> Vector:
    """Yin et al. 2018, arXiv 1803.01498, definition 1."""
    ordered, middle = np.sort(blocks, axis=0), len(blocks) // 2
    first = middle if len(blocks) % 2 else middle - 1
    median: Vector = (ordered[first] + ordered[middle]) / 2
    return median


def _trimmed_mean(parameters: Mapping[str, object], blocks: Updates) -> Vector:
    """Yin et al. 2018, arXiv 1803.01498, definition 2, with whole updates cut."""
    cut = int(float(str(parameters.get("beta", 0.2))) * len(blocks) + TIE)
    ordered = np.sort(blocks, axis=0)
    kept = ordered[cut : len(blocks) - cut]
    mean: Vector = kept.sum(axis=0) / len(kept)
    return mean


def _bulyan(parameters: Mapping[str, object], blocks: Updates) -> Vector:
    """El Mhamdi et al. 2018, arXiv 1802.07927, the second half: values closest to the median."""
    closest = len(blocks) - 2 * int(str(parameters.get("num_malicious_clients", 0)))
    gaps = np.abs(blocks - _median(parameters, blocks))
    order = np.lexsort((blocks, gaps), axis=0)[:closest]
    chosen: Vector = np.take_along_axis(blocks, order, axis=0).mean(axis=0)
    return chosen


_Check = Callable[[Mapping[str, object], Sequence[Contributor], Vector, Updates], str | None]
REFERENCE_COEFFICIENTS: Final[Mapping[str, _Check]] = {
    "krum": _krum,
    "mean": _mean,
    "multi-krum": _multi_krum,
}
REFERENCE_COMBINATIONS: Final[Mapping[str, Callable[[Mapping[str, object], Updates], Vector]]] = {
    "bulyan": _bulyan,
    "median": _median,
    "trimmed-mean": _trimmed_mean,
}
"""By the id of the aggregator."""
