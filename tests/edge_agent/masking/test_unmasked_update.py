"""Updates before they are masked: whole numbers with a weight, and what is said of them."""

from dataclasses import replace

import numpy as np
import pytest

from fedbus.errors import LayoutError, PrivacyError
from fedbus.model.blob import encode
from fedbus.model.fixed_point import from_fixed_point
from fedbus.model.layout import Layout
from fedbus.wire.encryption import FixedPoint
from fedbus.wire.privacy import PrivacyTerms
from fedbus_edge_agent.masking.unmasked_update import unmasked_update
from fedbus_edge_agent.training.offered_ranges import offered_ranges
from fedbus_edge_agent.training.private_offer import TrainingReport
from tests.edge_agent.harness import train
from tests.edge_agent.training.private_tasks import EXAMPLE_TERMS
from tests.edge_agent.training.private_tasks import TERMS as CENTRAL_TERMS
from tests.masked_peer import MAX_EXAMPLES, TERMS

ARRAYS = {"b": np.full(3, 0.75, np.float32), "w": np.array([1.5, -3.0], np.float32)}
LAYOUT = Layout.of(ARRAYS)
DELTA = encode(ARRAYS, LAYOUT, "delta")
TASK = train(masking=TERMS, ranges=(0, 1), max_examples=MAX_EXAMPLES)
FIXED_POINT = TERMS.fixed_point


def test_numbers_are_clipped_and_weighted() -> None:
    """The weight is the share of the examples of the agent that counts most."""
    made = unmasked_update(TASK, LAYOUT, DELTA, TrainingReport(5), bound=None, own=None)
    mean = from_fixed_point(made.numbers, LAYOUT, (0, 1), 16, 1, 5 / MAX_EXAMPLES)
    assert np.allclose(mean["b"], 0.75, atol=4 * 2**-15)
    assert np.allclose(mean["w"], [1.5, -2.0], atol=8 * 2**-15)
    assert made.report == TrainingReport(5, ranges=(0, 2))
    assert "numbers" not in repr(made)


def test_an_update_with_sections_is_not_masked() -> None:
    """Nothing would mask them."""
    for task in (replace(TASK, sections=("control",)), train()):
        with pytest.raises(PrivacyError, match="has no sections"):
            unmasked_update(task, LAYOUT, DELTA, TrainingReport(5), bound=None, own=None)


def test_ranges_of_another_model_are_refused() -> None:
    """Their number is that of its shared tensors."""
    task = replace(TASK, ranges=(0,))
    with pytest.raises(LayoutError, match="1 ranges for a layout of 2 shared tensors"):
        unmasked_update(task, LAYOUT, DELTA, TrainingReport(5), bound=None, own=None)


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused(number: float) -> None:
    """Masked, they would be any number, and no node could tell which agent sent them.

    A difference can overflow where both weights are finite.
    """
    arrays = {**ARRAYS, "w": np.array([1.5, number], np.float32)}
    delta = encode(arrays, LAYOUT, "delta")
    with pytest.raises(LayoutError, match="tensor 'w' of the update has numbers that are not fin"):
        unmasked_update(TASK, LAYOUT, delta, TrainingReport(5), bound=None, own=None)


def ranges_of(
    fixed_point: FixedPoint = FIXED_POINT,
    bound: float | None = None,
    privacy: PrivacyTerms | None = None,
) -> tuple[int, ...]:
    """Return what an offer states."""
    return offered_ranges(
        replace(TASK, privacy=privacy), fixed_point, LAYOUT, {"w": np.array([-6.0])}, ARRAYS, bound
    )


def test_ranges_of_a_private_update_follow_from_public_figures() -> None:
    """Those of one that protects itself, and of one without promises, from its numbers."""
    assert ranges_of() == ranges_of(privacy=EXAMPLE_TERMS) == (0, 2)
    assert ranges_of(privacy=CENTRAL_TERMS, bound=1.5) == (1, 3)
    with pytest.raises(PrivacyError, match="states no bound of an update"):
        ranges_of(privacy=CENTRAL_TERMS)


def test_the_noise_of_agents_is_not_cut_off() -> None:
    """Twice the bound, so that the noise of the next round fits too, and no range below it."""
    local = replace(CENTRAL_TERMS, noise="agents")
    assert ranges_of(privacy=local, bound=1.5) == (2, 4)
    task = replace(TASK, privacy=local, max_examples=1, ranges=(1, 1))
    report = TrainingReport(1)
    made = unmasked_update(task, LAYOUT, DELTA, report, bound=1.5, own=None)
    assert made.report.ranges == (2, 2)
    with pytest.raises(PrivacyError, match=r"clips numbers to 2\^1, which cuts off the noise"):
        unmasked_update(task, LAYOUT, DELTA, report, bound=2.5, own=None)
    with pytest.raises(PrivacyError, match="states no bound of an update, so that ranges could"):
        unmasked_update(task, LAYOUT, DELTA, report, bound=None, own=None)


def test_an_update_for_the_collectors_noise_stays_within_the_norm() -> None:
    """The collector cannot measure it, and rounding to few bits would make it longer."""
    arrays = {"b": np.zeros(3, np.float32), "w": np.full(2, 0.01, np.float32)}
    few = replace(TERMS, fixed_point=replace(FIXED_POINT, bits=4))
    task = replace(TASK, masking=few, privacy=CENTRAL_TERMS, max_examples=1, ranges=(0, 0))
    delta = encode(arrays, LAYOUT, "delta")
    for _ in range(20):
        made = unmasked_update(task, LAYOUT, delta, TrainingReport(1), bound=0.1, own=None)
        read = from_fixed_point(made.numbers, LAYOUT, (0, 0), 4, 1, 1.0)
        assert not any(array.any() for array in read.values())  # one step is 1/7


def test_a_private_update_counts_as_much_as_any_other() -> None:
    """The noise is for sums of updates with the weight 1."""
    task = replace(TASK, privacy=CENTRAL_TERMS)
    with pytest.raises(PrivacyError, match="protects updates that count alike, and the task"):
        unmasked_update(task, LAYOUT, DELTA, TrainingReport(1), bound=1.5, own=None)


def test_ranges_that_do_not_adapt_are_not_stated() -> None:
    """Nothing would be done with them."""
    assert ranges_of(replace(FIXED_POINT, adaptive=False), privacy=CENTRAL_TERMS) == ()
