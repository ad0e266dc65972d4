"""Encrypted trainings: what leaves the agent is the encrypted distance from the anchor."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedbus.data import Dataset
from fedbus.encryption.encrypt import decrypt_version, encrypt_update
from fedbus.encryption.encrypted_blob import planned_header, read_encrypted_header
from fedbus.encryption.key_files import SecretKey
from fedbus.errors import (
    EncryptionError,
    FedbusError,
    PrivacyError,
    Stopped,
    TrainingError,
)
from fedbus.model.blob import decode
from fedbus.model.blob_header import Blob
from fedbus.model.layout import Layout, Weights
from fedbus.plugins import PrivateTraining, PrivateUpdate
from fedbus.strategies.privacy_mechanisms.dp_adaptive import AdaptiveClipping
from fedbus.strategies.privacy_mechanisms.dp_fixed import FixedClipping
from fedbus.strategies.privacy_mechanisms.ldp_gaussian import LocalGaussian
from fedbus.training.params import TrainingParams, Update
from fedbus.wire.blobs import EncryptedVersion, ModelRef, blob_ref_of
from fedbus.wire.messages import TrainTask
from fedbus.wire.strategies import NO_FACTS
from fedbus_edge_agent.training.cancellation import TaskControl
from fedbus_edge_agent.training.local_strategy import LocalStrategy
from fedbus_edge_agent.training.local_trainer import LocalTrainer
from fedbus_edge_agent.training.outbox import Outbox
from fedbus_edge_agent.training.private_offer import HIDDEN_FAILURE
from fedbus_edge_agent.training.readable_version import readable_version
from fedbus_edge_agent.training.task_runner import TrainingResult
from tests.edge_agent.harness import evaluate
from tests.edge_agent.training.private_tasks import LOCAL_TERMS, Count, FixedParts, private
from tests.edge_agent.training.test_local_trainer import learnable_data
from tests.edge_agent.training.test_private_training import (
    ARRAYS,
    BASE,
    EXAMPLES,
    LAYOUT,
    MODEL,
    Slope,
    task_of,
)
from tests.masked_peer import TERMS as MASKING
from tests.sample_encryption import FIXED_POINT, sample_key, sample_terms

ANCHOR = blob_ref_of(BASE)
TERMS = sample_terms()
SHARED = ("a", "b")


class Scored(Slope):
    """A trainer that also evaluates: it returns the first number."""

    def evaluate(
        self, weights: Weights, data: Dataset, params: TrainingParams
    ) -> Mapping[str, float]:
        del data, params
        return {"score": float(weights["b"][0])}


def agent(
    folder: Path,
    key: SecretKey | None = None,
    parts: LocalStrategy | None = None,
    trainer: type[Slope] = Scored,
) -> LocalTrainer:
    """Return a local trainer with the key, unless another one is given."""
    made = LocalTrainer(
        Outbox(folder),
        learnable_data(EXAMPLES),
        "slope",
        {"slope": trainer},
        noise=lambda: Count(0),
        encryption_key=key or sample_key(),
    )
    if parts is not None:
        made.strategies.plugins = FixedParts(parts=parts)
    return made


def encrypted_task(base: ModelRef | None = None, **changes: Any) -> TrainTask:  # noqa: ANN401 - any field
    """Return a task of an encrypted job whose ranges are 2^1 and 2^2."""
    task = task_of(encryption=TERMS, ranges=(1, 2), max_examples=20)
    task = task if base is None else replace(task, base=base)
    return replace(task, **changes)


def version_of(distances: Weights, *, header_anchor: str = ANCHOR.digest) -> tuple[ModelRef, bytes]:
    """Encrypt a version with these distances from the anchor, of an agent with all the weight."""
    header = planned_header(TERMS, LAYOUT, anchor=header_anchor, ranges=(1, 2), max_examples=20)
    rng = np.random.default_rng(4)
    blob = bytes(encrypt_update(distances, LAYOUT, header, 20, sample_key(), rng))
    encryption = EncryptedVersion(
        scheme="bfv", key=TERMS.key, parameters=TERMS.parameters, anchor=1, anchor_weights=ANCHOR
    )
    plain = task_of().base
    return replace(plain, version=2, weights=blob_ref_of(blob), encryption=encryption), blob


DISTANCES: Weights = {
    "a": np.full((2, 3), 0.25, np.float32),
    "b": np.full(4, -0.75, np.float64),
}
ENCRYPTED_MODEL = replace(MODEL, anchor=BASE)


def decrypted(result: TrainingResult) -> Weights:
    """Return the distances in an update."""
    return decrypt_version(result.source.read(0, result.source.size), LAYOUT, sample_key())


def test_the_difference_from_a_plain_base_is_encrypted(tmp_path: Path) -> None:
    """The base is the anchor. The offer tells how many examples count, and the ranges."""
    result = agent(tmp_path).train(encrypted_task(), MODEL, BASE, TaskControl())
    offer = result.stored.offer
    assert (offer.examples, dict(offer.metrics), offer.facts) == (20, {}, NO_FACTS)
    assert offer.ranges == (0, 0)
    blob = result.source.read(0, result.source.size)
    assert offer.update == blob_ref_of(blob)
    header, _ = read_encrypted_header(blob, len(blob), LAYOUT)
    assert (header.count, header.weight, header.anchor) == (1, 20, ANCHOR.digest)
    update = decrypted(result)
    assert update.keys() == set(SHARED)  # local tensors stay here
    for name, step in (("a", 2 / 1023), ("b", 4 / 1023)):
        assert np.abs(update[name] + 1).max() <= step


def test_from_an_encrypted_base_the_whole_distance_is_encrypted(tmp_path: Path) -> None:
    """So a version stands alone, whatever an agent has missed; the base itself is read exactly."""
    base, blob = version_of(DISTANCES)
    exact = decrypt_version(blob, LAYOUT, sample_key())
    result = agent(tmp_path).train(encrypted_task(base), ENCRYPTED_MODEL, blob, TaskControl())
    update = decrypted(result)
    assert np.abs(update["a"] - (exact["a"] - 1)).max() <= 2 / 1023
    assert np.abs(update["b"] - (exact["b"] - 1)).max() <= 4 / 1023
    assert result.stored.offer.ranges == (0, 1)  # 0.75 and 1.75
    assert result.stored.offer.base == 2


def test_one_function_reads_versions_for_training_and_evaluation(tmp_path: Path) -> None:
    """Local tensors are the anchor's, the others anchor and distance in the layout's dtypes."""
    base, blob = version_of(DISTANCES)
    exact = decrypt_version(blob, LAYOUT, sample_key())
    plain = decode(readable_version(base, ENCRYPTED_MODEL, blob, sample_key()), LAYOUT, "plain")
    for name in SHARED:
        expected = (ARRAYS[name] + exact[name]).astype(ARRAYS[name].dtype)
        assert np.array_equal(plain[name], expected)
    assert np.array_equal(plain["own"], ARRAYS["own"])
    assert readable_version(task_of().base, MODEL, BASE, None) is BASE
    task = evaluate(version=base)
    scored = agent(tmp_path).evaluate(task, ENCRYPTED_MODEL, blob, TaskControl())
    assert scored.metrics == {"score": pytest.approx(5 - 0.75, abs=0.01)}


@pytest.mark.parametrize(
    ("base", "anchor", "key", "error", "reason"),
    [
        ("good", BASE, None, PrivacyError, "this agent has no encryption key"),
        ("good", None, "good", EncryptionError, "the anchor of tiny version 2 is not here"),
        ("good", BASE[:-1] + b"\1", "good", TrainingError, "not those of its digest"),
        ("other anchor", BASE, "good", EncryptionError, "distances from the anchor ffffffffffff"),
        ("good", BASE, "other", EncryptionError, "encrypted with key"),
    ],
)
def test_a_version_that_cannot_be_read_is_refused_by_name(
    base: str, anchor: Blob | None, key: str | None, error: type[FedbusError], reason: str
) -> None:
    """Garbage must not be trained."""
    ref, blob = version_of(
        DISTANCES, header_anchor="f" * 64 if base == "other anchor" else ANCHOR.digest
    )
    held = None
    if key is not None:
        held = sample_key() if key == "good" else SecretKey.generate(sample_key().parameters)
    with pytest.raises(error, match=reason):
        readable_version(ref, replace(MODEL, anchor=anchor), blob, held)


def test_without_adaptive_ranges_an_offer_states_none(tmp_path: Path) -> None:
    """Then nothing but the number of examples is readable."""
    terms = replace(TERMS, fixed_point=replace(FIXED_POINT, adaptive=False))
    task = encrypted_task(encryption=terms)
    result = agent(tmp_path).train(task, MODEL, BASE, TaskControl())
    assert result.stored.offer.ranges == ()


@pytest.mark.parametrize(
    ("mechanism", "numbers", "expected"),
    [
        # The distances of the base, and twice the norm 0.5 with six deviations of 1.0 * 0.5 / 2.
        (
            FixedClipping(
                noise_multiplier=1.0,
                clipping_norm=0.5,
                num_sampled_clients=4,
                server_side_noising=False,
            ),
            {},
            (3, 3),  # 0.25 + 2 * (0.5 + 1.5) and 0.75 + 2 * (0.5 + 1.5)
        ),
        (
            AdaptiveClipping(
                num_sampled_clients=4,
                init_clip_norm=0.1,
                noise_multiplier=0.3,
                clip_count_stddev=0.2,
                server_side_noising=False,
            ),
            {"clipping_norm": 4.0},
            (5, 5),
        ),
    ],
)
def test_ranges_of_a_private_update_follow_from_public_numbers(
    tmp_path: Path,
    mechanism: FixedClipping | AdaptiveClipping,
    numbers: dict[str, float],
    expected: tuple[int, int],
) -> None:
    """The noise of one agent does not hide its update, and its offer is readable."""
    base, blob = version_of(DISTANCES)
    task = private(
        encrypted_task(base, max_examples=1, ranges=(5, 5)), LOCAL_TERMS, numbers=numbers
    )
    parts = LocalStrategy(mechanism=("dp-trial", mechanism))
    result = agent(tmp_path, parts=parts).train(task, ENCRYPTED_MODEL, blob, TaskControl())
    offer = result.stored.offer
    assert (offer.examples, dict(offer.metrics), offer.ranges) == (1, {}, expected)


def test_ranges_that_cut_the_noise_off_are_declined(tmp_path: Path) -> None:
    """The sum of clipped noise is not the noise that ε is computed for."""
    mechanism = FixedClipping(
        noise_multiplier=1.0, clipping_norm=0.5, num_sampled_clients=4, server_side_noising=False
    )
    base, blob = version_of(DISTANCES)
    task = private(encrypted_task(base, max_examples=1, ranges=(2, 1)), LOCAL_TERMS)
    trainer = agent(tmp_path, parts=LocalStrategy(mechanism=("dp-trial", mechanism)))
    with pytest.raises(PrivacyError, match=r"clips numbers to 2\^1, which cuts off the noise"):
        trainer.train(task, ENCRYPTED_MODEL, blob, TaskControl())
    assert not list(tmp_path.glob("*.update"))


def test_ranges_of_an_update_that_is_private_by_itself_follow_from_it(tmp_path: Path) -> None:
    """What is computed from it costs no more privacy."""
    terms = replace(LOCAL_TERMS, entered="with-plan")
    task = private(encrypted_task(max_examples=1), terms)
    parts = LocalStrategy(
        mechanism=(
            "dp-trial",
            LocalGaussian(noise_multiplier=1.0, clipping_norm=0.5, num_sampled_clients=4),
        )
    )
    result = agent(tmp_path, parts=parts).train(task, MODEL, BASE, TaskControl())
    assert result.stored.offer.ranges == (2, 3)  # the noise counts 0, 1, 2 … times 0.5


class NoBound:
    """A mechanism that states no bound."""

    def protect(self, update: Weights, training: PrivateTraining, /) -> PrivateUpdate:
        del training
        return PrivateUpdate(update=update)


def test_a_mechanism_without_a_bound_is_declined(tmp_path: Path) -> None:
    """Ranges that follow from the update would tell how long it was, and others cut noise off."""
    task = private(encrypted_task(max_examples=1), LOCAL_TERMS)
    trainer = agent(tmp_path, parts=LocalStrategy(mechanism=("dp-trial", NoBound())))
    with pytest.raises(PrivacyError, match="states no bound of an update"):
        trainer.train(task, MODEL, BASE, TaskControl())
    assert not list(tmp_path.glob("*.update"))


@pytest.mark.parametrize(
    ("changes", "key", "error", "reason"),
    [
        ({"ranges": (1,)}, "good", EncryptionError, "1 ranges for 2 shared tensors"),
        ({}, "other", EncryptionError, "the secret key here is"),
    ],
)
def test_an_update_that_cannot_be_encrypted_is_not_stored(
    tmp_path: Path,
    changes: dict[str, Any],  # of a task
    key: str,
    error: type[FedbusError],
    reason: str,
) -> None:
    """It must not leave the agent in the clear."""
    held = sample_key() if key == "good" else SecretKey.generate(sample_key().parameters)
    with pytest.raises(error, match=reason):
        agent(tmp_path, held).train(encrypted_task(**changes), MODEL, BASE, TaskControl())
    assert not list(tmp_path.glob("*.update"))


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("fault", ["raise", "nan"])
def test_why_a_hidden_training_failed_stays_on_the_machine_if_it_may_have_data(
    fault: str, masked: bool, tmp_path: Path
) -> None:
    """The decline says that it failed, and of numbers that are not finite in which tensor."""

    class Faulty(Scored):
        pass

    Faulty.fault = fault
    if fault == "nan":
        Faulty.train = lambda _, weights, data, __: Update(  # type: ignore[method-assign,assignment]  # only here
            {name: array * np.nan for name, array in weights.items()}, data.examples, {}
        )
    made = agent(tmp_path, trainer=Faulty)
    control = TaskControl()
    masks: dict[str, Any] = {"encryption": None, "masking": MASKING} if masked else {}
    train = made.train_to_mask if masked else made.train
    with pytest.raises(TrainingError) as raised:
        train(encrypted_task(**masks), MODEL, BASE, control)
    kept = [reason for event, reason in control.notes if event == "private_training_failed"]
    if fault == "nan":
        assert "'a' is not finite after training" in str(raised.value)
        assert not kept
    else:
        assert str(raised.value) == HIDDEN_FAILURE
        assert "row [" in kept[0]


def test_without_a_key_nothing_leaves_the_agent(tmp_path: Path) -> None:
    """A task is declined before; this is the last line."""
    trainer = LocalTrainer(Outbox(tmp_path), learnable_data(EXAMPLES), "slope", {"slope": Slope})
    with pytest.raises(PrivacyError, match="FEDBUS_ENCRYPTION_KEY"):
        trainer.train(encrypted_task(), MODEL, BASE, TaskControl())
    assert not list(tmp_path.glob("*.update"))


def test_a_cancelled_task_ends_between_two_ciphertexts() -> None:
    """A large update takes seconds, and the agent has other work."""
    control, asked = TaskControl(), 0

    def check() -> None:
        nonlocal asked
        asked += 1
        if asked == 2:
            control.stop()
        control.check()

    numbers = {"w": np.zeros(10_000, np.float32)}
    layout = Layout.of(numbers)
    header = planned_header(TERMS, layout, anchor="0" * 64, ranges=(0,), max_examples=1)
    assert header.ciphertexts == 3
    with pytest.raises(Stopped):
        encrypt_update(numbers, layout, header, 1, sample_key(), np.random.default_rng(), check)
    assert asked == 2
