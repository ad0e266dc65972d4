"""Which versions of a model keep their weights. Pure.

The last few, the best one, and those a person pinned (pushed or tagged). Records, cards and
structure files are kept for ever; only weights are large.
"""

from collections.abc import Sequence

from fedbus_repository.store import Kept, Version


def outdated(versions: Sequence[Version], keep: int) -> list[Version]:
    """Pick the versions whose weights may go, of those of one model that still have them."""
    newest = sorted(versions, key=lambda version: version.version, reverse=True)
    top = best(newest)
    return [
        version for version in newest[max(1, keep) :] if not version.pinned and version is not top
    ]


def reasons(versions: Sequence[Version]) -> list[tuple[int, Kept]]:
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
    judged = [version for version in versions if version.scored] or versions
    if accurate := [version for version in judged if "accuracy" in version.metrics]:
        return max(accurate, key=lambda version: version.metrics["accuracy"])
    if measured := [version for version in judged if "loss" in version.metrics]:
        return min(measured, key=lambda version: version.metrics["loss"])
    return None
