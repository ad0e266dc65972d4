"""Retention of weights."""

from dataclasses import replace

import pytest

from fedbus.wire.blobs import EncryptedVersion, blob_ref_of
from fedbus_repository.stores.records import Version
from fedbus_repository.stores.retention import best, needed_for, outdated, retained
from tests.repository.harness import MODEL, spec, weights

ENCRYPTED = EncryptedVersion(
    scheme="bfv",
    key="a" * 64,
    parameters="b" * 64,
    anchor=1,
    anchor_weights=blob_ref_of(weights(1)),
)


def version(
    number: int,
    *,
    evaluated: bool = True,
    pinned: bool = False,
    anchor: int | None = None,
    **metrics: float,
) -> Version:
    """A version with metrics; with an anchor it is encrypted."""
    encryption = None if anchor is None else replace(ENCRYPTED, anchor=anchor)
    return Version(
        model=MODEL,
        version=number,
        parent=number - 1,
        weights=blob_ref_of(weights(number)),
        spec=blob_ref_of(spec()),
        metrics=metrics,
        evaluated=evaluated,
        pinned=pinned,
        encryption=encryption,
    )


def numbers(versions: list[Version]) -> list[int]:
    """Name versions."""
    return [each.version for each in versions]


def test_older_versions_go() -> None:
    """The last few stay; in whatever order they are given."""
    assert numbers(outdated([version(n) for n in (3, 1, 5, 2, 4)], keep=2)) == [3, 2, 1]
    assert outdated([version(1), version(2)], keep=2) == []


def test_the_latest_always_stays() -> None:
    """Whatever someone configured."""
    assert numbers(outdated([version(1), version(2)], keep=0)) == [1]


def test_what_is_pinned_stays() -> None:
    """A person may come back to it."""
    assert numbers(outdated([version(1, pinned=True), version(2), version(3)], keep=1)) == [2]


def test_an_anchor_stays_while_a_version_that_stays_is_a_distance_from_it() -> None:
    """The best encrypted version may be old, and the newest of another anchor."""
    versions = [
        version(1),
        version(2, anchor=1, accuracy=0.9),
        version(3, anchor=1, accuracy=0.5),
        version(4, accuracy=0.6),
        version(5),
        version(6, anchor=5),
    ]
    assert numbers(outdated(versions, keep=1)) == [4, 3]
    left = [each for each in versions if each.version not in {3, 4}]
    assert retained(left, {}) == [(6, "newest"), (5, "anchor"), (2, "best"), (1, "anchor")]
    assert numbers(outdated([version(1), version(2, anchor=1)], keep=1)) == []


def test_what_has_a_name_stays_with_its_anchor() -> None:
    """A user relies on it."""
    versions = [version(1), version(2, anchor=1), version(3), version(4), version(5)]
    assert numbers(outdated(versions, keep=1, named={2, 4, 9})) == [3]
    left = [each for each in versions if each.version != 3]
    assert retained(left, {2: "tagged", 4: "alias"}) == [
        (5, "newest"),
        (4, "alias"),
        (2, "tagged"),
        (1, "anchor"),
    ]


def test_the_best_stays() -> None:
    """It may be the one to deploy."""
    versions = [version(1, accuracy=0.5), version(2, accuracy=0.9), version(3, accuracy=0.6)]
    assert numbers(outdated(versions, keep=1)) == [1]


@pytest.mark.parametrize(
    ("versions", "expected"),
    [
        ([version(1, loss=0.1, accuracy=0.5), version(2, loss=0.2, accuracy=0.9)], 2),
        ([version(1, loss=0.1), version(2, loss=0.2)], 1),
        ([version(1, loss=0.1), version(2, accuracy=0.1)], 2),
        ([version(1, evaluated=False, accuracy=0.99), version(2, accuracy=0.5)], 2),
        (
            [
                version(1, evaluated=False, train_accuracy=0.9),
                version(2, evaluated=False, train_accuracy=0.5),
            ],
            1,
        ),
        ([version(1), version(2)], None),
        ([], None),
    ],
    ids=[
        "accuracy",
        "loss",
        "accuracy before loss",
        "held-out",
        "own metrics",
        "unmeasured",
        "none",
    ],
)
def test_the_best_is_the_most_accurate_or_of_lowest_loss(
    versions: list[Version], expected: int | None
) -> None:
    """Held-out scores are believed before what agents say of themselves."""
    found = best(versions)
    assert (found.version if found else None) == expected


def test_a_user_deletes_what_nothing_needs() -> None:
    """Not the latest, not a named one, not the anchor of an encrypted one; the best, they may."""
    kept = [version(1), version(2, accuracy=0.9), version(3), version(4, anchor=1), version(5)]
    reasons = [needed_for(each, 5, kept, {3: "alias"}) for each in kept]
    assert reasons == [
        "encrypted version 4 is a distance from it",
        "",
        "its reason is 'alias': remove the tag, or promote another version",
        "",
        "it is the latest version, which is served and trained",
    ]
