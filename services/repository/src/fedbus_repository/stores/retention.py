"""Retention of weights: a model's last versions, its best, pinned and named ones, anchors. Pure.

A named version has a tag, or an alias names it, or would after a few roll-backs. An encrypted
version is useless without the weights of its anchor. A running job needs no rule of its own: the
newest version, from which its next round starts, is always kept. Records, specs and architecture
files are never deleted; only weights are large.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

from fedbus.training.options import TRAINING_PREFIX
from fedbus.wire.messages.model_requests import RetentionReason
from fedbus_repository.stores.records import Version


def outdated(versions: Sequence[Version], keep: int, named: Collection[int] = ()) -> list[Version]:
    """Return the versions whose weights may be deleted, of all of one model that have weights.

    `named` are those that are kept for a name, by their number.
    """
    newest = sorted(versions, key=lambda version: version.version, reverse=True)
    top = best(newest)
    stay = [
        version
        for at, version in enumerate(newest)
        if at < max(1, keep) or version.pinned or version is top or version.version in named
    ]
    numbers = {version.version for version in stay} | anchors_of(stay)
    return [version for version in newest if version.version not in numbers]


def needed_for(
    version: Version,
    latest: int,
    versions: Iterable[Version],
    named: Mapping[int, RetentionReason],
) -> str:
    """Return why a user may not delete the weights of a version; "": they may.

    `versions` are all of the model that have weights. A user may delete those that only a rule of
    retention keeps: the best, a pushed one, one of the newest.
    """
    number = version.version
    if number == latest:
        return "it is the latest version, which is served and trained"
    if number in named:
        return f"its reason is {named[number]!r}: remove the tag, or promote another version"
    others = [each.version for each in versions if number in anchors_of([each])]
    if others:
        return f"encrypted version {max(others)} is a distance from it"
    return ""


def anchors_of(versions: Iterable[Version]) -> set[int]:
    """Return the numbers of the plain versions that encrypted ones are distances from."""
    return {each.encryption.anchor for each in versions if each.encryption is not None}


def retained(
    versions: Sequence[Version], named: Mapping[int, RetentionReason]
) -> list[tuple[int, RetentionReason]]:
    """Return the number of each version that has weights and the reason, newest first.

    `named` has the reason of those that are kept for a name. Of several reasons it is the one that
    holds longest: a newest version becomes an old one.
    """
    newest = sorted(versions, key=lambda version: version.version, reverse=True)
    top, anchors = best(newest), anchors_of(newest)

    def why(version: Version) -> RetentionReason:
        if version is top:
            return "best"
        if version.pinned:
            return "pushed"
        if version.version in named:
            return named[version.version]
        return "anchor" if version.version in anchors else "newest"

    return [(each.version, why(each)) for each in newest]


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
