"""Versions that keep their weights, and the one that a name means, in an answer. Pure."""

from collections.abc import Iterable, Iterator
from itertools import groupby

from fedbus.client.failures import Refused
from fedbus.wire.messages import KeptVersion, ModelShown


def named_version(shown: ModelShown, name: str) -> int | None:
    """Return the version that an alias or a tag names; None: neither has this name."""
    return shown.aliases.get(name, shown.tags.get(name))


def check_kept(shown: ModelShown) -> None:
    """Refuse to fetch a version whose weights are deleted.

    Raises:
        Refused: they are; which versions still have theirs.
    """
    ref = shown.version
    if shown.kept and all(each.version != ref.version for each in shown.kept):
        raise Refused(
            f"the weights of {ref.model} version {ref.version} are deleted: the newest versions "
            "keep theirs, the best one, those with a tag or an alias, and those that were pushed. "
            "Kept: "
            f"{kept_line(shown.kept)}"
        )


def kept_line(kept: Iterable[KeptVersion]) -> str:
    """Format which versions keep their weights and why, neighbours together: `3, 8-12 (newest)`."""
    by_reason: dict[str, list[int]] = {}
    for each in kept:
        by_reason.setdefault(each.why, []).append(each.version)
    parts = [f"{spans(versions)} ({why})" for why, versions in by_reason.items()]
    return "; ".join(parts) or "none"


def spans(versions: Iterable[int]) -> str:
    """Format versions, neighbours together: `3, 8-12`."""
    return ", ".join(_spans(sorted(versions)))


def _spans(versions: list[int]) -> Iterator[str]:
    for _, neighbours in groupby(enumerate(versions), key=lambda pair: pair[1] - pair[0]):
        span = [version for _, version in neighbours]
        yield str(span[0]) if len(span) == 1 else f"{span[0]}-{span[-1]}"
