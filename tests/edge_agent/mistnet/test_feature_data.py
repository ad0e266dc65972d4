"""Data set made of the features of many agents."""

import numpy as np
import pytest

from fedbus.errors import TrainingError
from fedbus.privacy.feature_blob import FeatureEncoder
from fedbus.training.params import TrainingParams
from fedbus.wire.features import FeatureTerms
from fedbus_edge_agent.mistnet.feature_data import ROWS_AT_ONCE, feature_data

TERMS = FeatureTerms(cut_layer=2, epsilon=4.0, features=6)


def blob(
    label: float, rows: int = 40, shape: tuple[int, ...] = (2, 3), kind: str = "int64"
) -> bytes:
    """Return features of ones, without flips, with one label for all rows."""
    features = np.ones((rows, *shape), np.float32)
    labels = np.full(rows, label).astype(kind)
    encoder = FeatureEncoder(2, 4.0, lambda size: b"\xff" * size)
    encoder.add(features, labels)
    return encoder.blob()


def test_rows_are_estimates_in_the_shape_of_the_layer() -> None:
    """A bit that was sent as one is more than one: what flips take away on average is added."""
    data, left_out = feature_data({"agent.a": blob(1)}, TERMS)
    assert (data.examples, left_out) == (40, [])
    x, y = next(data.batches())
    assert x.shape[1:] == (2, 3)
    q = 1 / (np.exp(2) + 1)
    np.testing.assert_allclose(x, (1 - q) / (1 - 2 * q), rtol=1e-6)
    assert y.dtype == np.int64


def test_agents_take_turns() -> None:
    """So a shuffled part of a data set larger than memory has examples of all agents."""
    data, _ = feature_data({"agent.b": blob(2, 70), "agent.a": blob(1)}, TERMS)
    order = [(int(y[0]), len(y)) for _, y in data.batches()]
    assert order == [(1, ROWS_AT_ONCE), (2, ROWS_AT_ONCE), (1, 8), (2, ROWS_AT_ONCE), (2, 6)]
    assert sum(len(y) for _, y in data.steps(TrainingParams(batch_size=16, epochs=2))) == 220


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        (b"", "are no features"),
        (blob(1, shape=(6,)), "where other agents have"),
        (blob(1, kind="float32"), "where other agents have"),
        (blob(1, shape=(5,)), "5 features of cut_layer 2 and epsilon 4; the job has 6"),
    ],
)
def test_an_agent_with_other_features_is_left_out(bad: bytes, sentence: str) -> None:
    """The sentence names it, and the others count."""
    data, (reason,) = feature_data({"agent.a": blob(1), "agent.b": bad}, TERMS)
    assert data.examples == 40
    assert reason.startswith("agent.b: ")
    assert sentence in reason


@pytest.mark.parametrize("label", [np.nan, np.inf, -np.inf])
def test_labels_that_are_not_finite_are_refused(label: float) -> None:
    """No agent is left, and the reason names each."""
    with pytest.raises(TrainingError, match=r"can be used: agent\.a: labels that are not finite"):
        feature_data({"agent.a": blob(label, kind="float32")}, TERMS)
