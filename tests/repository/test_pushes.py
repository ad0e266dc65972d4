"""A model on its way in from a user."""

import json

import pytest

from fedbus.actions import Received, RunFailed
from fedbus.errors import StoreError
from fedbus.testing.trail import check_trail
from fedbus.wire import codec
from fedbus.wire.cards import MAX_FILE
from fedbus.wire.messages import ModelPushed, PushModel, RequestRefused
from fedbus_repository.store import Store
from tests.repository.stand import (
    FILE,
    MODEL,
    USER,
    Stand,
    begin,
    card,
    manifest_of,
    plain,
    push,
    ref_of,
    update,
    weights,
)


def push_of(stated: bytes = card(), content: bytes = weights(0.0)) -> PushModel:
    """A user's wish."""
    return PushModel(model=MODEL, card=manifest_of(stated), weights=manifest_of(content))


PUSH = push_of()


def refusal(stand: Stand, message: PushModel = PUSH) -> str:
    """Push, and return why not."""
    [answer] = stand.hear(USER, message)
    assert isinstance(answer, RequestRefused)
    assert answer.about == MODEL
    assert not stand.fetching
    return answer.reason


def test_a_model_is_fetched_whole_and_announced(stand: Stand, store: Store) -> None:
    """Its card, then its weights and the file the card names."""
    stand.serve(card(), weights(0.0), FILE)
    answers = stand.hear(USER, PUSH)
    [version] = store.latest()
    assert answers == [ModelPushed(version=ref_of(version))]
    assert (stand.latest[-1].version, stand.latest[-1].parent, stand.latest[-1].job) == (
        1,
        None,
        None,
    )
    assert store.holds(manifest_of(FILE))
    assert check_trail(store).versions == 1


def test_the_same_push_again_is_the_same_version(stand: Stand) -> None:
    """Its first answer may have been lost."""
    stand.serve(card(), weights(0.0), FILE)
    first = stand.hear(USER, PUSH)
    assert stand.hear(USER, PUSH) == first


def test_a_push_that_is_repeated_meanwhile_is_fetched_once(stand: Stand) -> None:
    """At each of its stages."""
    for content in (card(), FILE, weights(0.0)):
        assert stand.hear(USER, PUSH) == []
        before = set(stand.fetching)
        assert stand.hear(USER, PUSH) == []
        assert set(stand.fetching) == before
        stand.serve(content)
        stand.work()
    assert len(stand.said) == 1


def test_a_further_version_fetches_only_what_is_new(stand: Stand, store: Store) -> None:
    """The card and its file are here since the first."""
    first = push(store, 0.0)
    stand.serve(weights(1.0))
    [answer] = stand.hear(USER, push_of(content=weights(1.0)))
    assert (answer.version.version, store.latest()[0].parent) == (2, first.version)


def test_another_push_of_the_model_supersedes_the_first(stand: Stand) -> None:
    """The user pressed Ctrl-C and pushed something better; nobody waits for the first answer."""
    stand.hear(USER, PUSH)
    better = push_of(content=weights(1.0))
    assert stand.hear(USER, better) == []
    assert not stand.fetching
    stand.serve(card(), weights(1.0), FILE)
    assert stand.hear(USER, better)[0].version.weights == better.weights


def test_a_model_in_training_is_refused(stand: Stand, store: Store) -> None:
    """Its next round would have another parent."""
    begin(store)
    assert "is being trained by job" in refusal(stand, push_of(content=weights(1.0)))


def test_a_huge_card_is_refused_unfetched(stand: Stand) -> None:
    """Nothing is allocated for it."""
    reason = refusal(stand, push_of(stated=bytes(codec.MAX_MESSAGE + 1)))
    assert reason == "a card of 1048577 bytes, at most 1048576"


@pytest.mark.parametrize(
    ("stated", "reason"),
    [
        (b"{}", "the model card: ModelCard.model: Field required"),
        (card(model="faces"), "the model card is of model 'faces', not 'digits'"),
        (
            card().replace(b'"float32"', b'"float31"', 1),
            "the model card: tensor 'bias': dtype 'float31' is none of",
        ),
        (
            card(structures={"tflite": {"blob": "a file"}}),
            "the model card: structures.tflite.blob: Manifest",
        ),
        (
            card(
                structures={"tflite": {"blob": plain(manifest_of(FILE)) | {"size": MAX_FILE + 1}}}
            ),
            f"the model card: a card that names a file of {MAX_FILE + 1} bytes, at most {MAX_FILE}",
        ),
    ],
    ids=["no card", "other model", "impossible layout", "no manifest", "huge file"],
)
def test_a_card_that_cannot_be_used_is_refused(stand: Stand, stated: bytes, reason: str) -> None:
    """Before anything else is fetched, with the sentence that says what is wrong."""
    stand.serve(stated, weights(0.0), FILE)
    assert refusal(stand, push_of(stated)).startswith(reason)


def test_weights_of_another_size_are_refused_unfetched(stand: Stand) -> None:
    """The layout says how many bytes there must be."""
    stand.serve(card())
    assert refusal(stand, push_of(content=bytes(5000))) == (
        "the weights have 5000 bytes; the card's layout makes 36, and a header"
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (update(0.0), "a delta blob where a plain one belongs"),
        (bytes(len(weights(0.0))), "not a weights blob"),
        (weights(0.0) + b"x", "a blob of"),
    ],
    ids=["a delta", "nonsense", "longer"],
)
def test_weights_that_do_not_fit_the_card_are_refused(
    stand: Stand, store: Store, content: bytes, reason: str
) -> None:
    """Agents would find out one by one; and nothing of it is kept."""
    stand.serve(card(), content, FILE)
    assert reason in refusal(stand, push_of(content=content))
    assert not any(store.holds(manifest_of(each)) for each in (card(), content, FILE))


def test_a_card_of_other_bytes_is_refused(stand: Stand) -> None:
    """A digest names its content."""
    stand.hear(USER, PUSH)
    [key] = stand.fetching
    stand.arrive(key, json.dumps({}).encode().ljust(len(card())))
    stand.work()
    assert "holds something else" in stand.said[-1][1].reason


def test_a_file_of_other_bytes_is_refused(stand: Stand, store: Store) -> None:
    """So is one that the card names."""
    stand.serve(card(), weights(0.0))
    stand.hear(USER, PUSH)
    [key] = stand.fetching
    stand.arrive(key, b"?" * len(FILE))
    stand.work()
    assert "holds something else" in stand.said[-1][1].reason
    assert store.latest() == ()


def test_a_blob_that_does_not_come_is_told(stand: Stand) -> None:
    """A user sees a sentence, not a progress bar that stands still."""
    stand.serve(card())
    stand.hear(USER, PUSH)
    assert len(stand.fetching) == 2
    stand.lose(next(iter(stand.fetching)), "user.cli does not hold it")
    assert not stand.fetching
    stand.work()
    assert stand.said[-1][1].reason == "user.cli does not hold it"


def test_a_store_that_fails_is_told(stand: Stand) -> None:
    """A user can do something about a full disk."""
    stand.tell(Received(USER, PUSH))
    stand.tell(RunFailed(stand.runs.popleft().key, StoreError("no space left")))
    assert stand.said[-1][1].reason == "no space left"


def test_a_job_that_begins_meanwhile_keeps_its_base(stand: Stand, store: Store) -> None:
    """The push was offered before, and is weighed again when it is inserted."""
    push(store, 0.0)
    message = push_of(content=weights(1.0))
    stand.hear(USER, message)
    begin(store)
    stand.serve(weights(1.0))
    stand.work()
    assert "is being trained" in stand.said[-1][1].reason
    assert not store.holds(message.weights)
