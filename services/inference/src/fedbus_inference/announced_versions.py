"""Order of the announced versions of a model, also across a restoration of the repository. Pure.

Versions count up, and an announcement may arrive late, so a lower number is an older version. A
store that was restored from a backup counts again from there: what it makes has numbers that were
given before, and other content or a later time.
"""

from fedbus.wire.documents import ModelLatest
from fedbus.wire.timestamps import parse_timestamp


def is_same_version(one: ModelLatest, other: ModelLatest) -> bool:
    """Return whether two announcements are of one version; its metrics may have changed."""
    return (one.version, one.digest) == (other.version, other.digest)


def shows_restoration(announced: ModelLatest, known: ModelLatest | None) -> bool:
    """Return whether a version that takes the place of a known one was made by a restored store.

    It has a lower number, or the same number and other content.
    """
    if known is None or not is_newer(announced, known) or is_same_version(announced, known):
        return False
    return announced.version <= known.version


def is_newer(announced: ModelLatest, known: ModelLatest | None) -> bool:
    """Return whether an announced version takes the place of a known one, which it may equal."""
    if known is None or announced.version >= known.version:
        return True
    if announced.at is None or known.at is None:
        return False
    return parse_timestamp(announced.at) > parse_timestamp(known.at)
