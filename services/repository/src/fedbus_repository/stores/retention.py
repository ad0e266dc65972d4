"""Which versions of a model keep their weights. Pure.

The last few, the best one, and those a person pinned (pushed or tagged). Records, specs and
architecture files are kept for ever; only weights are large.
"""

from collections.abc import Sequence

from fedbus.training.options import TRAINING_PREFIX
from fedbus_repository.stores.records import RetentionReason, Version


def outdated(versions: Sequence[Version], keep: int) -> list[Version]:
    """Pick the versions whose weights may go, of those of one model that still have them."""
    newest = sorted(versions, key=lambda version: version.version, reverse=True)
    top = best(newest)
    return [
        version for version in newest[max(1, keep) :] if not version.pinned and version is not top
    ]


def reasons(versions: Sequence[Version]) -> list[tuple[int, RetentionReason]]:
    """Say of the versions that still have their weights why that is so; newest first.

    Of several reasons the one that holds longest is said: one of the newest is old some day.
    """
    newest = sorted(versions, key=lambda version: version.version, reverse=True)
    top = best(newest)
    return [
        (each.version, "best" if each is top else "pushed" if each.pinned else "newest")
        for each in newest
    ]


def best(versions: Sequence[Version]) -> Version | None:
    """Find the most accurate version, else the one of the lowest loss; of equals the first given.

    Held-out scores are believed before the agents' own metrics.
    """
    scored = [version for version in versions if version.scored]
    judged = scored or versions
    accuracy = [(_figure(version, "accuracy"), version) for version in judged]
    if accurate := [(value, version) for value, version in accuracy if value is not None]:
        return max(accurate, key=lambda each: each[0])[1]
    loss = [(_figure(version, "loss"), version) for version in judged]
    if measured := [(value, version) for value, version in loss if value is not None]:
        return min(measured, key=lambda each: each[0])[1]
    return None


def _figure(version: Version, name: str) -> float | None:
    """Find a held-out figure, or of a version that nobody scored that of training."""
    found = version.metrics.get(name)
    return (
        found
        if version.scored or found is not None
        else version.metrics.get(TRAINING_PREFIX + name)
    )
