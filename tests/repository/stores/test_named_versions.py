"""Tags, aliases and lineage, as every store has them."""

from collections.abc import Callable
from pathlib import Path

from fedbus.wire.blobs import BlobRef, blob_ref_of
from fedbus.wire.messages import (
    ListNameChanges,
    ListRelatives,
    PromoteVersion,
    RollBackAlias,
    TagVersion,
)
from fedbus.wire.messages.model_requests import Derivation
from fedbus.wire.messages.model_trail import Relation
from fedbus_repository.stores.base import Store
from fedbus_repository.stores.files import blob_path
from fedbus_repository.stores.record_store import RecordStore
from fedbus_repository.stores.records import HistoryEntry, ModelView, StoreRefusal
from fedbus_repository.stores.sqlite.store import SqliteStore
from fedbus_repository.stores.trail_answers import NameChangePage, NamedVersions, RelativePage
from tests.repository.conftest import Open
from tests.repository.harness import (
    AT,
    MODEL,
    USER,
    begin,
    commit_next,
    load,
    push,
    push_of,
    put,
    spec,
    weights,
)
from tests.repository.protected_jobs import ENCRYPTED, protected_plan, protected_record

PRODUCTION = "production"


def promote(
    store: Store, version: int | None, expected: int | None = None, alias: str = PRODUCTION
) -> NamedVersions | StoreRefusal:
    """Move an alias."""
    request = PromoteVersion(model=MODEL, alias=alias, version=version, expected=expected, note="n")
    return store.promote(request, USER)


def roll_back(
    store: Store, expected: int, *, or_remove: bool = False
) -> NamedVersions | StoreRefusal:
    """Move an alias back."""
    request = RollBackAlias(model=MODEL, alias=PRODUCTION, expected=expected, or_remove=or_remove)
    return store.roll_back(request, "inference.1")


def tag(store: Store, version: int | None, name: str = "paper") -> NamedVersions | StoreRefusal:
    """Move a tag, or remove it."""
    return store.tag(TagVersion(model=MODEL, version=version, tag=name), USER)


def reason(answer: object) -> str:
    """The reason of a refusal."""
    assert isinstance(answer, StoreRefusal)
    return answer.reason


def aliases(answer: object) -> dict[str, int]:
    """The aliases after a change."""
    assert isinstance(answer, NamedVersions)
    assert {name: each.version for name, each in answer.aliased.items()} == answer.names.aliases
    return answer.names.aliases


def commit_encrypted(store: Store, content: bytes) -> None:
    """Commit the next round of a job with homomorphic encryption."""
    job = load(store)
    plan = protected_plan(job)
    assert store.store_plan(2**52, plan) == plan
    done = store.commit(protected_record(plan, job.latest), put(store, content))
    assert isinstance(done, HistoryEntry)


def shown(store: Store, name: str | None = None) -> ModelView:
    """What is shown of the model."""
    view = store.show(MODEL, None, 100, name=name)
    assert isinstance(view, ModelView)
    return view


def relatives(store: Store, relation: Relation, version: int | None = None) -> list[int]:
    """All relatives of a version, by pages of two."""
    found: list[int] = []
    while True:
        request = ListRelatives(
            model=MODEL,
            version=version,
            relation=relation,
            limit=2,
            after=found[-1] if found else None,
        )
        page = store.relatives(request)
        assert isinstance(page, RelativePage)
        found += [each.version for each in page.versions]
        if not page.more:
            return found


def test_names_outlive_the_process(reopen: Open) -> None:
    """With their history: who, when, why, and what was before."""
    store = reopen()
    begin(store)
    for value in (1.0, 2.0):
        commit_next(store, value)
    tag(store, 2)
    assert aliases(promote(store, 1)) == {PRODUCTION: 1}
    assert aliases(promote(store, 3, expected=1)) == {PRODUCTION: 3}
    assert aliases(roll_back(store, 3)) == {PRODUCTION: 1}
    store = reopen()
    view = shown(store)
    assert (view.aliases, view.tags) == ({PRODUCTION: 1}, {"paper": 2})
    [named] = store.named_versions().values()
    assert isinstance(named, NamedVersions)
    assert (named.names.changes, named.aliased[PRODUCTION].weights) == (4, blob_ref_of(weights(0)))
    page = store.name_changes(ListNameChanges(model=MODEL, name=PRODUCTION, limit=2))
    assert isinstance(page, NameChangePage)
    assert [(each.kind, each.version, each.replaced, each.by) for each in page.changes] == [
        ("roll-back", 1, 3, "inference.1"),
        ("promotion", 3, 1, USER),
    ]
    assert (page.changes[1].note, page.changes[1].at, page.more) == ("n", AT, True)
    rest = store.name_changes(ListNameChanges(model=MODEL, before=3))
    assert isinstance(rest, NameChangePage)
    assert [(each.number, each.kind) for each in rest.changes] == [(2, "promotion"), (1, "tag")]
    assert not rest.more


def test_a_version_is_shown_by_its_name(store: Store) -> None:
    """An alias or a tag; what is unknown is refused with what there is."""
    push(store, 0.0)
    push(store, 1.0)
    promote(store, 1)
    tag(store, 2)
    assert shown(store, PRODUCTION).version.version == 1
    assert shown(store, "paper").version.version == 2
    assert "aliases: production; tags: paper" in reason(store.show(MODEL, None, 1, name="prod"))


def test_a_repeated_request_stores_nothing(store: Store) -> None:
    """Whatever was asked for, and by whom."""
    push(store, 0.0)
    push(store, 1.0)
    for _ in range(2):
        promote(store, 1)
        tag(store, 1)
    for _ in range(2):
        promote(store, 2, expected=1)
    for _ in range(2):
        answer = roll_back(store, 2)
        assert aliases(answer) == {PRODUCTION: 1}
    for _ in range(2):
        tag(store, None)
    [named] = store.named_versions().values()
    assert isinstance(named, NamedVersions)
    assert named.names.changes == 5
    assert named.names.tags == {}


def test_what_does_not_exist_has_no_name(store: Store) -> None:
    """Models and versions that there are, are listed."""
    assert "no model named 'digits'" in reason(promote(store, 1))
    assert "no model named 'digits'" in reason(tag(store, 1))
    assert "no model named 'digits'" in reason(
        store.relatives(ListRelatives(model=MODEL, version=None, relation="leaves"))
    )
    assert "no model named 'digits'" in reason(store.name_changes(ListNameChanges(model=MODEL)))
    push(store)
    assert reason(promote(store, 7)) == "model 'digits' has versions 1 to 1, no 7"
    assert reason(tag(store, 0)) == "model 'digits' has versions 1 to 1, no 0"
    assert "no alias or tag 'nope'" in reason(
        store.name_changes(ListNameChanges(model=MODEL, name="nope"))
    )
    assert "versions 1 to 1, no 2" in reason(
        store.relatives(ListRelatives(model=MODEL, version=2, relation="leaves"))
    )
    assert store.named_versions() == {}
    assert store.name_changes(ListNameChanges(model=MODEL)) == NameChangePage((), more=False)


def test_named_versions_keep_their_weights(store: Store) -> None:
    """And those that the next roll-backs return to; untagged, they go with the next commit."""
    begin(store)
    made = [commit_next(store, float(value)).version for value in range(1, 3)]
    tag(store, 2)
    for number in (1, 2, 3):
        promote(store, number)
    for value in range(3, 9):
        commit_next(store, float(value))
    kept = dict(shown(store).kept)
    assert kept == {9: "best", 8: "newest", 7: "newest", 3: "alias", 2: "tagged", 1: "pushed"}
    assert all(store.holds(each.weights) for each in made)
    promote(store, None)
    tag(store, None)
    assert dict(shown(store).kept) == kept | {3: "newest", 2: "newest"}
    commit_next(store, 9.0)
    assert [number for number, _ in shown(store).kept] == [10, 9, 8, 1]
    assert not any(store.holds(each.weights) for each in made)
    tag(store, 8)
    refused = reason(tag(store, 2))
    assert refused == (
        "the weights of version 2 of model 'digits' are deleted; versions with weights: 10, 9, 8, 1"
    )
    assert shown(store).tags == {"paper": 8}


def test_a_roll_back_to_deleted_weights_is_refused(store: Store) -> None:
    """Those of the last three stay; the alias stays where it is."""
    begin(store)
    for value in range(1, 6):
        commit_next(store, float(value))
        promote(store, value + 1)
    for value in range(6, 10):
        commit_next(store, float(value))
    assert [number for number, why in shown(store).kept if why == "alias"] == [6, 5, 4, 3]
    for number in (6, 5, 4):
        assert aliases(roll_back(store, number)) == {PRODUCTION: number - 1}
    assert "version 2 of model 'digits' are deleted" in reason(roll_back(store, 3))
    assert shown(store).aliases == {PRODUCTION: 3}
    assert "are deleted; versions with weights: 10, 9, 8" in reason(promote(store, 2))
    assert aliases(roll_back(store, 3, or_remove=True)) == {}
    assert aliases(roll_back(store, 3, or_remove=True)) == {}  # repeated
    page = store.name_changes(ListNameChanges(model=MODEL, limit=2))
    assert isinstance(page, NameChangePage)
    assert [(each.version, each.replaced, each.by) for each in page.changes] == [
        (None, 3, "inference.1"),
        (3, 4, "inference.1"),
    ]


def test_an_encrypted_version_is_not_promoted_and_its_tag_keeps_its_anchor(store: Store) -> None:
    """Inference cannot read it."""
    begin(store, strategy=ENCRYPTED)
    for value in range(1, 7):
        commit_encrypted(store, b"ciphertexts %d" % value)
        tag(store, 2)
    assert "is encrypted, and inference cannot read it" in reason(promote(store, 2))
    assert dict(shown(store).kept)[2] == "tagged"


def test_a_damaged_version_is_not_promoted(tmp_path: Path) -> None:
    """Its weights are read before an alias names them; a roll-back does not return to it."""
    store = SqliteStore(tmp_path)
    version = push(store, 0.0)
    push(store, 1.0)
    push(store, 2.0)
    for number in (3, 1, 2):
        promote(store, number)
    path = blob_path(tmp_path, version.weights.digest)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.chmod(0o600)
    path.write_bytes(content)
    assert "are damaged or missing" in reason(promote(store, 1, alias="canary"))
    assert "are damaged or missing" in reason(roll_back(store, 2))
    assert shown(store).aliases == {PRODUCTION: 2}
    assert aliases(roll_back(store, 2, or_remove=True)) == {PRODUCTION: 3}
    store.close()


def while_it_is_read(store: RecordStore, change: Callable[[], object]) -> None:
    """Make something happen once, when the store reads a version that is to be promoted."""
    blobs = store._blobs  # noqa: SLF001 - the only place between its two blocks
    holds, left = blobs.holds, [change]

    def then(blob: BlobRef) -> bool:
        while left:
            left.pop()()
        return holds(blob)

    blobs.holds = then  # type: ignore[method-assign]  # of this store


def test_weights_that_are_deleted_while_they_are_read_are_not_promoted(tmp_path: Path) -> None:
    """A commit may come between the reading of a large version and the change of the alias."""
    store = SqliteStore(tmp_path, keep=3)
    begin(store)
    for value in range(1, 4):
        commit_next(store, float(value))
    while_it_is_read(store, lambda: [commit_next(store, float(value)) for value in range(4, 8)])
    assert "the weights of version 2 of model 'digits' are deleted" in reason(promote(store, 2))
    assert shown(store).aliases == {}
    store.close()


def test_of_two_that_move_an_alias_at_once_the_slower_is_refused(tmp_path: Path) -> None:
    """It says what the alias names now; without a condition the last one wins."""
    store = SqliteStore(tmp_path)
    for value in range(5):
        push(store, float(value))
    promote(store, 1)
    promote(store, 2)
    while_it_is_read(store, lambda: promote(store, 3))
    assert "names version 3 now, not version 2" in reason(roll_back(store, 2))
    while_it_is_read(store, lambda: promote(store, 4))
    assert "names version 4 now, not version 3" in reason(promote(store, 5, expected=3))
    while_it_is_read(store, lambda: promote(store, 1))
    assert aliases(promote(store, 5)) == {PRODUCTION: 5}
    assert aliases(roll_back(store, 5)) == {PRODUCTION: 1}
    store.close()


def test_lineage_follows_rounds_and_derivations_and_ends_at_pushes(store: Store) -> None:
    """What is pushed with `reset` begins a new root; a fork leaves what came between out."""
    job = begin(store, strategy=ENCRYPTED)
    for value in (1, 2):
        commit_encrypted(store, b"ciphertexts %d" % value)
    store.end_job(2**52, job.job, "finished", "")
    stated = put(store, spec())
    released = push_of(
        stated,
        put(store, weights(5.0)),
        reset=True,
        derived=Derivation(kind="release", version=2, by="me"),
    )
    assert not isinstance(store.push(released, ()), StoreRefusal)
    again = push_of(stated, put(store, weights(6.0)), reset=True)
    assert not isinstance(store.push(again, ()), StoreRefusal)
    begin(store, "digits-2")
    commit_next(store, 7.0, "digits-2")
    assert [(each.version, each.base) for each in shown(store).history] == [
        (6, 5),
        (5, None),
        (4, 2),
        (3, 2),
        (2, 1),
        (1, None),
    ]
    assert relatives(store, "ancestors") == [5]
    assert relatives(store, "ancestors", 4) == [2, 1]
    assert relatives(store, "descendants", 1) == [2, 3, 4]
    assert relatives(store, "descendants") == []
    assert relatives(store, "leaves") == [3, 4, 6]
    assert relatives(store, "leaves", 2) == [3, 4]
