"""Features of an agent: made once, served until the job ends, the same after every restart."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import pytest

pytest.importorskip("torch")

from fedbus.core.actions import Unserve
from fedbus.core.events import Connected
from fedbus.model.blob import decode
from fedbus.model.layout import Weights
from fedbus.privacy.feature_blob import decode_features
from fedbus.wire.features import AgentFeatures, FeatureTerms
from fedbus.wire.messages import Decline, FeaturesReady, JobStopped, Offer, StopJob
from fedbus_edge_agent import keys
from fedbus_edge_agent.mistnet.sent_features import MAX_KEPT_FEATURES
from fedbus_edge_agent.training.private_offer import PRIVATE_FAILURE
from tests.edge_agent.mistnet.feature_harness import (
    BASE,
    COLLECTOR,
    CONTROLLER,
    JOB,
    LAYOUT,
    REF,
    TERMS,
    WEIGHTS,
    FeatureHarness,
    ask,
    rows,
    train,
)

if TYPE_CHECKING:
    from fedbus.plugins import Trainer


def made(agent: FeatureHarness, task: int = 1) -> FeaturesReady:
    """Ask an agent for features, and return its answer."""
    agent.receive(CONTROLLER, ask(task))
    agent.deliver()
    agent.run_calls()
    return agent.sent_to(CONTROLLER, FeaturesReady)


def test_features_are_the_bits_of_the_layer_before_the_cut(tmp_path: Path) -> None:
    """Without flips they are the signs of its outputs; labels and number of examples are sent."""
    agent = FeatureHarness(tmp_path, random_bytes=lambda size: b"\xff" * size)
    answer = made(agent)
    assert answer.features is not None
    assert (answer.job, answer.task, answer.examples, answer.reason) == (JOB, 1, 30, "")
    sent = decode_features(agent.served_bytes(answer.features.digest))
    x = np.concatenate([x for x, _ in rows(1).batches()])
    wanted = x @ WEIGHTS["layers.0.weight"] + WEIGHTS["layers.0.bias"] > 0
    np.testing.assert_array_equal(np.unpackbits(sent.packed, axis=1, count=8), wanted)
    np.testing.assert_array_equal(sent.labels, np.arange(30) % 3)


def test_a_restarted_agent_serves_the_same_bytes(tmp_path: Path) -> None:
    """Also for a later task of the job: the same examples are never randomized twice."""
    first = made(FeatureHarness(tmp_path))
    assert first.features is not None
    again = FeatureHarness(tmp_path, rows(2))
    before = again.served_bytes(first.features.digest)
    again.receive(CONTROLLER, ask(4))
    answer = again.sent_to(CONTROLLER, FeaturesReady)
    assert answer == replace(first, task=4)
    assert again.served_bytes(first.features.digest) == before
    assert not again.runs


def test_a_repeated_request_is_answered_once_features_are_there(tmp_path: Path) -> None:
    """While they are made, a repetition, also one with another number, begins nothing."""
    agent = FeatureHarness(tmp_path)
    agent.receive(CONTROLLER, ask())
    agent.receive(CONTROLLER, ask())
    agent.receive(CONTROLLER, ask(2))
    agent.deliver()
    assert len(agent.runs) == 1
    agent.run_calls()
    agent.receive(CONTROLLER, ask(2))
    assert agent.sent_to(CONTROLLER, FeaturesReady).task == 2
    assert len(agent.served) == 1


def test_an_agent_killed_while_it_makes_features_makes_them_again(tmp_path: Path) -> None:
    """Nothing was served, so nothing is lost and nothing is paid twice."""
    killed = FeatureHarness(tmp_path)
    killed.receive(CONTROLLER, ask())
    killed.deliver()
    assert made(FeatureHarness(tmp_path)).features is not None


@pytest.mark.parametrize(
    "changes",
    [
        {"terms": replace(TERMS, epsilon=9.0)},
        {"terms": replace(TERMS, cut_layer=2)},
        {"base": replace(REF, weights=replace(REF.weights, digest="0" * 64))},
    ],
)
def test_features_are_not_made_again_for_another_promise(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    """The agent refuses, and keeps those that it has sent."""
    agent = FeatureHarness(tmp_path)
    made(agent)
    agent.receive(CONTROLLER, ask(3, **changes))
    answer = agent.sent_to(CONTROLLER, FeaturesReady)
    assert answer.features is None
    assert "with other terms or another base" in answer.reason
    assert len(agent.served) == 1


@pytest.mark.parametrize(
    ("terms", "sentence"),
    [
        (replace(TERMS, features=9), "8 features after layer 1, and the job computes its ε for 9"),
        (replace(TERMS, cut_layer=3), "cut_layer 3: the model has 3 layers"),
    ],
)
def test_features_that_are_not_as_promised_are_not_sent(
    tmp_path: Path, terms: FeatureTerms, sentence: str
) -> None:
    """The controller gets the reason, and nothing is on the disk."""
    agent = FeatureHarness(tmp_path)
    agent.receive(CONTROLLER, ask(terms=terms))
    agent.deliver()
    agent.run_calls()
    answer = agent.sent_to(CONTROLLER, FeaturesReady)
    assert answer.features is None
    assert sentence in answer.reason
    assert not list(tmp_path.glob("features/*"))


def test_why_data_do_not_fit_stays_on_the_machine(tmp_path: Path) -> None:
    """The sentence of a framework may quote the data; the agent's log has it."""
    agent = FeatureHarness(tmp_path, rows(1, width=7))
    answer = made(agent)
    assert answer.reason == PRIVATE_FAILURE
    (note,) = (note for note in agent.notes if note.event == "private_training_failed")
    assert "cannot take the rows" in str(note.facts["reason"])


def test_no_node_sees_that_features_are_made(tmp_path: Path) -> None:
    """Neither the published task nor the counters tell."""
    agent = FeatureHarness(tmp_path)
    agent.receive(CONTROLLER, ask())
    agent.deliver()
    facts = agent.core.facts()
    assert facts is not None
    assert facts.task == ""


def test_features_are_removed_when_the_job_ends(tmp_path: Path) -> None:
    """A late request for the ended job makes no new ones."""
    agent = FeatureHarness(tmp_path)
    digest = made(agent).features
    assert digest is not None
    actions = agent.receive(CONTROLLER, StopJob(epoch=1, job=JOB))
    assert Unserve(digest.digest) in actions
    assert agent.sent_to(CONTROLLER, JobStopped).job == JOB
    agent.run_calls()
    assert not list(tmp_path.glob("features/*"))
    agent.receive(CONTROLLER, ask())
    assert agent.sent_to(CONTROLLER, FeaturesReady).reason == "the job has ended"


def test_features_made_after_the_end_of_their_job_are_removed(tmp_path: Path) -> None:
    """They were on the disk, and were never served."""
    agent = FeatureHarness(tmp_path)
    agent.receive(CONTROLLER, ask())
    agent.deliver()
    run = agent.runs[0]
    result = run.call()
    agent.receive(CONTROLLER, StopJob(epoch=1, job=JOB))
    agent.runs[0] = replace(run, call=lambda: result)
    agent.run_calls()
    assert not list(tmp_path.glob("features/*"))
    assert not agent.served


def test_features_are_served_until_their_job_ends_even_before_the_agent_is_connected(
    tmp_path: Path,
) -> None:
    """A job that ended while the agent was away is not served again after a reconnection."""
    made(FeatureHarness(tmp_path))
    agent = FeatureHarness(tmp_path)
    assert len(agent.served) == 1
    agent.receive(CONTROLLER, StopJob(epoch=1, job=JOB))
    agent.handle(Connected())
    assert not agent.served


def test_a_damaged_file_is_no_reason_to_randomize_again(tmp_path: Path) -> None:
    """The agent cannot know what it has sent, and refuses."""
    made(FeatureHarness(tmp_path))
    path = tmp_path / "features" / f"{JOB}.features"
    path.write_bytes(path.read_bytes()[:-1])
    answer = made(FeatureHarness(tmp_path))
    assert answer.features is None
    assert "were sent; they are not made again" in answer.reason


def test_features_of_too_many_jobs_are_refused(tmp_path: Path) -> None:
    """Those of a running job must not be removed, and which ones run is not known."""
    made(FeatureHarness(tmp_path))
    path = tmp_path / "features" / f"{JOB}.features"
    for number in range(MAX_KEPT_FEATURES):
        shutil.copy(path, path.with_name(f"other-{number}.features"))
    path.unlink()
    assert "remove the files of jobs that have ended" in made(FeatureHarness(tmp_path)).reason


class Two:
    """Two agents with features, and a third that trains on them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.blobs: dict[str, bytes] = {}
        features = []
        for number in (1, 2):
            agent = FeatureHarness(folder / str(number), rows(number))
            answer = made(agent)
            assert answer.features is not None
            self.blobs[answer.features.digest] = agent.served_bytes(answer.features.digest)
            name = f"agent.{number}"
            features.append(AgentFeatures(agent=name, features=answer.features, examples=30))
        self.features = tuple(features)
        self.server = FeatureHarness(folder / "server", rows(9, width=7))

    def restart(self) -> None:
        """Restart the agent that trains."""
        self.server = FeatureHarness(self.folder / "server", rows(9, width=7))

    def train(self, task: int = 2) -> Offer | Decline:
        """Train, and return the answer to the collector."""
        self.server.receive(CONTROLLER, train(task, features=self.features))
        self.server.deliver(**self.blobs)
        self.server.run_calls()
        message = self.server.asks[keys.TaskReply(JOB, task)].message
        assert isinstance(message, Offer | Decline)
        return message


def test_an_agent_trains_the_layers_after_the_cut_on_the_features_of_others(tmp_path: Path) -> None:
    """Its own data do not matter; differences of the layers before the cut are zero."""
    two = Two(tmp_path)
    offer = two.train()
    assert isinstance(offer, Offer)
    assert offer.examples == 60
    update = decode(two.server.served_bytes(offer.update.digest), LAYOUT, "delta")
    assert not np.any(update["layers.0.weight"])
    assert not np.any(update["layers.0.bias"])
    assert np.any(update["layers.1.weight"])
    assert np.any(update["layers.2.bias"])
    assert two.server.asks[keys.TaskReply(JOB, 2)].to == COLLECTOR


def test_features_are_fetched_from_their_agents_once(tmp_path: Path) -> None:
    """A later round, also after a restart, fetches none."""
    two = Two(tmp_path)
    two.server.receive(CONTROLLER, train(features=two.features))
    two.server.deliver()
    fetches = {fetch.location.source: fetch.members for fetch in two.server.fetches.values()}
    assert fetches == {"agent.1": 0, "agent.2": 0}
    two.train()
    two.restart()
    two.server.receive(CONTROLLER, train(3, features=two.features))
    sources = {fetch.location.source for fetch in two.server.fetches.values()}
    assert sources == {"repository.1"}
    two.blobs.clear()
    assert isinstance(two.train(3), Offer)


def test_damaged_features_are_fetched_again(tmp_path: Path) -> None:
    """A round fails for damage on the disk, and the next one repairs it."""
    two = Two(tmp_path)
    two.train()
    digest = two.features[0].features.digest
    path = tmp_path / "server" / "received-features" / JOB / digest
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    declined = two.train(3)
    assert isinstance(declined, Decline)
    assert "damaged on the disk" in declined.reason
    assert isinstance(two.train(4), Offer)


def test_features_with_other_bytes_than_their_digest_are_refused(tmp_path: Path) -> None:
    """They are dropped, and fetched again by the next task."""
    two = Two(tmp_path)
    digest = two.features[0].features.digest
    right = two.blobs[digest]
    two.blobs[digest] = right[:-1] + b"x"
    declined = two.train()
    assert isinstance(declined, Decline)
    assert "other bytes than its digest names" in declined.reason
    two.blobs[digest] = right
    assert isinstance(two.train(3), Offer)


def test_received_features_are_removed_when_the_job_ends(tmp_path: Path) -> None:
    """Nothing of the job stays on the disk."""
    two = Two(tmp_path)
    two.train()
    assert (tmp_path / "server" / "received-features" / JOB).exists()
    two.server.receive(CONTROLLER, StopJob(epoch=1, job=JOB))
    assert not (tmp_path / "server" / "received-features" / JOB).exists()


def test_an_agent_whose_features_cannot_be_used_is_left_out(tmp_path: Path) -> None:
    """The others count; the log names it."""
    two = Two(tmp_path)
    other = FeatureHarness(tmp_path / "other", rows(3))
    other.receive(CONTROLLER, ask(terms=replace(TERMS, epsilon=2.0)))
    other.deliver()
    other.run_calls()
    found = other.sent_to(CONTROLLER, FeaturesReady).features
    assert found is not None
    two.blobs[found.digest] = other.served_bytes(found.digest)
    two.features = (*two.features, AgentFeatures(agent="agent.3", features=found, examples=30))
    offer = two.train()
    assert isinstance(offer, Offer)
    assert offer.examples == 60
    (note,) = (note for note in two.server.notes if note.event == "features_left_out")
    assert "agent.3: 8 features of cut_layer 1 and epsilon 2" in str(note.facts["reason"])


def test_the_base_of_these_tests_is_that_of_the_model() -> None:
    """Both tasks begin with it."""
    assert REF.weights.size == len(BASE)


class Uncut:
    """A trainer that cannot cut its model."""

    def initial(self) -> Weights:
        """Return the weights of the tests' model."""
        return WEIGHTS


def test_a_trainer_that_cannot_cut_is_named(tmp_path: Path) -> None:
    """The sentence says what it lacks."""
    agent = FeatureHarness(tmp_path, factories={"torch": lambda _: cast("Trainer", Uncut())})
    answer = made(agent)
    assert "trainer torch cannot cut a model" in answer.reason
