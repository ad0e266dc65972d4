"""Retention of weights: the last versions of a model, its best one and the pinned ones. Pure.

Records, specs and architecture files are never deleted; only weights are large.
"""

from collections.abc import Sequence

from fedbus.training.options import TRAINING_PREFIX
from fedbus_repository.stores.records import RetentionReason, Version


def outdated(versions: Sequence[Version], keep: int) -> list[Version]:
    """Return the versions whose weights may be deleted, of all of one model that have weights."""
    newest = sorted(versions, key=lambda version: version.version, reverse=True)
    top = best(newest)
    return [
        version for version in newest[max(1, keep) :] if not version.pinned and version is not top
    ]


def retained(versions: Sequence[Version]) -> list[tuple[int, RetentionReason]]:
    """Return the number of each version that has weights and the reason, newest first.

    Of several reasons it is the one that holds longest: a newest version becomes an old one.
    """
    newest = sorted(versions, key=lambda version: version.version, reverse=True)
    top = best(newest)
    return [
        (each.version, "best" if each is top else "pushed" if each.pinned else "newest")
        for each in newest
    ]


def best(versions: Sequence[Version]) -> Version | None:
    """Return the version of highest accuracy, else of lowest loss; of equals the first given.

    If any version is evaluated, only evaluated versions are compared.
    """
    evaluated = [version for version in versions if version.evaluated]
    compared = evaluated or versions
    accuracy = [(_metric(version, "accuracy"), version) for version in compared]
    if accurate := [(value, version) for value, version in accuracy if value is not None]:
        return max(accurate, key=lambda each: each[0])[1]
    loss = [(_metric(version, "loss"), version) for version in compared]
    if measured := [(value, version) for value, version in loss if value is not None]:
        return min(measured, key=lambda each: each[0])[1]
    return None


def _metric(version: Version, name: str) -> float | None:
    """Return a held-out metric; of a version that is not evaluated, also a metric of training."""
    if version.evaluated or name in version.metrics:
        return version.metrics.get(name)
    return version.metrics.get(TRAINING_PREFIX + name)
