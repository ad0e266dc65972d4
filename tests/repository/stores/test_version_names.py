"""Rules of tags, promotions and roll-backs."""

from collections.abc import Collection
from dataclasses import replace

import pytest

from fedbus.limits import MAX_ALIASES, MAX_ROLL_BACKS, MAX_TAGS
from fedbus.wire.blobs import EncryptedVersion, blob_ref_of
from fedbus.wire.messages import PromoteVersion, RollBackAlias, TagVersion
from fedbus.wire.messages.model_trail import NameChange
from fedbus_repository.stores.records import StoreRefusal, Version
from fedbus_repository.stores.version_names import (
    ModelNames,
    Naming,
    promotion,
    promotion_fault,
    roll_back,
    tag_change,
)
from tests.repository.harness import AT, MODEL, USER, spec, weights

NAMING = Naming(by=USER, at=AT)
PRODUCTION = "production"


class Names:
    """The names of a model, which each request changes."""

    def __init__(self) -> None:
        self.made: dict[str, NameChange] = {}
        self.count = 0

    def now(self) -> ModelNames:
        """What the names stand for."""
        return ModelNames.of(MODEL, self.made.values())

    def promote(
        self, version: int | None, alias: str = PRODUCTION, expected: int | None = None
    ) -> NameChange | StoreRefusal:
        """Move an alias."""
        request = PromoteVersion(model=MODEL, alias=alias, version=version, expected=expected)
        return self._add(promotion(self.now(), request, NAMING))

    def roll_back(
        self,
        expected: int,
        alias: str = PRODUCTION,
        *,
        or_remove: bool = False,
        passed_over: Collection[int] = (),
    ) -> NameChange | StoreRefusal:
        """Move an alias back."""
        request = RollBackAlias(model=MODEL, alias=alias, expected=expected, or_remove=or_remove)
        return self._add(roll_back(self.now(), request, NAMING, passed_over))

    def tag(self, version: int | None, tag: str = "paper") -> NameChange | StoreRefusal:
        """Move a tag, or remove it."""
        request = TagVersion(model=MODEL, version=version, tag=tag, note="for the talk")
        return self._add(tag_change(self.now(), request, NAMING))

    def _add(self, answer: NameChange | StoreRefusal) -> NameChange | StoreRefusal:
        if isinstance(answer, NameChange):
            if answer is not self.made.get(answer.name):
                assert answer.number == self.count + 1
                self.count += 1
            self.made[answer.name] = answer
        return answer


def reason(answer: NameChange | StoreRefusal) -> str:
    """The reason of a refusal."""
    assert isinstance(answer, StoreRefusal)
    return answer.reason


def version(answer: NameChange | StoreRefusal) -> int | None:
    """The version that a change left."""
    assert isinstance(answer, NameChange)
    return answer.version


def test_repeated_roll_backs_go_further_back_and_a_promotion_starts_from_there() -> None:
    """What was rolled back is not returned to."""
    names = Names()
    for each in (1, 2, 3, 4):
        names.promote(each)
    assert [version(names.roll_back(each)) for each in (4, 3)] == [3, 2]
    names.promote(7)
    assert [version(names.roll_back(each)) for each in (7, 2)] == [2, 1]
    assert "has named no version before 1" in reason(names.roll_back(1))


def test_a_roll_back_that_must_succeed_removes_an_alias_with_nothing_before() -> None:
    """What is rolled back must not be served again; a promotion after it begins a new history."""
    names = Names()
    names.promote(1)
    assert "has named no version before 1" in reason(names.roll_back(1))
    removed = names.roll_back(1, or_remove=True)
    assert isinstance(removed, NameChange)
    assert (removed.kind, removed.version, removed.replaced) == ("roll-back", None, 1)
    assert (removed.earlier, removed.by) == ((), USER)
    assert names.roll_back(1, or_remove=True) is removed  # repeated
    assert "has no alias 'production'" in reason(names.roll_back(2, or_remove=True))
    assert (names.now().aliases, names.now().kept()) == ({}, {})
    names.promote(3)
    assert "has named no version before 3" in reason(names.roll_back(3))


def test_a_roll_back_that_must_succeed_passes_over_what_cannot_be_served() -> None:
    """It returns to the nearest version that can, or removes the alias; it goes back once."""
    names = Names()
    for each in (1, 2, 3, 2, 4):
        names.promote(each)
    back = names.roll_back(4, or_remove=True, passed_over={2})
    assert isinstance(back, NameChange)
    assert (back.version, back.earlier) == (3, (2, 1))
    assert names.roll_back(4, or_remove=True) is back
    assert version(names.roll_back(3, or_remove=True, passed_over={2, 1})) is None


def test_a_roll_back_that_must_succeed_does_not_return_to_what_it_takes_back() -> None:
    """An alias that was removed and made again has named the same version before."""
    names = Names()
    for each in (1, 2, None, 2):
        names.promote(each)
    assert version(names.roll_back(2, or_remove=True)) == 1


def test_a_change_says_who_when_why_and_what_was_before() -> None:
    """It is the history of the name."""
    names = Names()
    names.promote(1)
    made = names.promote(2)
    assert made == NameChange(
        model=MODEL,
        number=2,
        name=PRODUCTION,
        kind="promotion",
        version=2,
        replaced=1,
        by=USER,
        earlier=(1,),
        at=AT,
    )
    tagged = names.tag(2)
    assert isinstance(tagged, NameChange)
    assert (tagged.kind, tagged.note, tagged.earlier) == ("tag", "for the talk", ())


def test_a_repeated_request_changes_nothing() -> None:
    """Its sender had no answer, and asks again."""
    names = Names()
    first = names.promote(1)
    assert names.promote(1) is first
    second = names.promote(2, expected=1)
    assert names.promote(2, expected=1) is second
    back = names.roll_back(2)
    assert names.roll_back(2) is back
    gone = names.promote(None, expected=1)
    assert names.promote(None, expected=1) is gone
    tagged = names.tag(3)
    assert names.tag(3) is tagged
    untagged = names.tag(None)
    assert names.tag(None) is untagged


def test_a_conditional_change_is_refused_if_another_was_faster() -> None:
    """It says what the alias names now."""
    names = Names()
    assert "names no version now, not version 3" in reason(names.promote(4, expected=3))
    names.promote(4, expected=0)
    assert "names version 4 now, not none" in reason(names.promote(5, expected=0))
    assert "names version 4 now, not version 3" in reason(names.promote(4, expected=3))
    names.promote(5)
    names.promote(6)
    assert "names version 6 now, not version 5" in reason(names.roll_back(5))
    names.roll_back(6)
    assert "names version 5 now, not version 4" in reason(names.roll_back(4))


def test_an_alias_is_removed_and_made_again_with_its_history() -> None:
    """A roll-back then returns to what it named before it was removed."""
    names = Names()
    names.promote(1)
    names.promote(None)
    assert names.now().aliases == {}
    assert names.now().kept() == {}
    assert "has no alias 'production'; aliases: none" in reason(names.roll_back(1))
    names.promote(2)
    assert version(names.roll_back(2)) == 1


def test_what_has_no_name_cannot_be_removed() -> None:
    """The names there are, are listed."""
    names = Names()
    names.promote(1, "canary")
    names.tag(1)
    assert "has no alias 'production'; aliases: canary" in reason(names.promote(None))
    assert "has no tag 'talk'; tags: paper" in reason(names.tag(None, "talk"))
    assert "has no alias 'canari'; aliases: canary" in reason(names.roll_back(1, "canari"))
    found = names.now().version_of("prod")
    assert isinstance(found, StoreRefusal)
    assert "no alias or tag 'prod'; aliases: canary; tags: paper" in found.reason
    assert (names.now().version_of("canary"), names.now().version_of("paper")) == (1, 1)
    names.tag(None)
    assert isinstance(names.now().version_of("paper"), StoreRefusal)


def test_a_name_is_a_tag_or_an_alias() -> None:
    """`digits@NAME` means one version; a name that was removed can become the other."""
    names = Names()
    names.promote(1)
    names.tag(1)
    assert "is an alias of model 'digits'" in reason(names.tag(1, PRODUCTION))
    assert "is a tag of model 'digits'" in reason(names.promote(1, "paper"))
    names.promote(None)
    names.tag(2, PRODUCTION)
    names.tag(None)
    made = names.promote(3, "paper")
    assert isinstance(made, NameChange)
    assert made.earlier == ()
    assert (names.now().aliases, names.now().tags) == ({"paper": 3}, {PRODUCTION: 2})


@pytest.mark.parametrize("name", ["7", "latest", "-x", ""])
def test_a_name_that_means_something_else_is_refused(name: str) -> None:
    """`digits@7` is version 7."""
    names = Names()
    assert repr(name) in reason(names.promote(1, name))
    assert repr(name) in reason(names.tag(1, name))


def test_there_are_limits() -> None:
    """Each tag keeps the weights of a version; what exists can still be moved."""
    names = Names()
    for each in range(MAX_TAGS):
        names.tag(each + 1, f"t{each}")
    assert f"has {MAX_TAGS} tags" in reason(names.tag(1, "more"))
    assert version(names.tag(5, "t0")) == 5
    for each in range(MAX_ALIASES):
        names.promote(1, f"a{each}")
    assert f"has {MAX_ALIASES} aliases" in reason(names.promote(1, "more"))
    for each in range(2, MAX_ROLL_BACKS + 5):
        names.promote(each, "a0")
    assert len(names.made["a0"].earlier) == MAX_ROLL_BACKS


def test_the_versions_of_names_are_kept_and_of_some_roll_backs() -> None:
    """A tag is the reason that is shown: it stays longer."""
    names = Names()
    for each in range(1, 7):
        names.promote(each)
    names.tag(4)
    assert names.now().kept() == {6: "alias", 5: "alias", 4: "tagged", 3: "alias"}


def test_a_version_that_cannot_be_served_is_not_promoted() -> None:
    """The reason says what would work."""
    made = Version(
        model=MODEL,
        version=2,
        parent=1,
        weights=blob_ref_of(weights(2)),
        spec=blob_ref_of(spec()),
    )
    encryption = EncryptedVersion(
        scheme="bfv",
        key="a" * 64,
        parameters="b" * 64,
        anchor=1,
        anchor_weights=blob_ref_of(weights(1)),
    )
    encrypted, deleted = replace(made, encryption=encryption), replace(made, kept=False)
    kept = [replace(made, version=number) for number in (1, 3, 9)]
    assert promotion_fault(made, (), intact=True) is None
    assert "release digits@2 --key" in str(promotion_fault(encrypted, (), intact=True))
    assert "versions with weights: 9, 3, 1" in str(promotion_fault(deleted, kept, intact=True))
    assert "damaged or missing" in str(promotion_fault(made, (), intact=False))
