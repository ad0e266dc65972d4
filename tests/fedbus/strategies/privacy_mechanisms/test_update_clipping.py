"""No update leaves an agent longer than the limit, whatever its numbers are."""

from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as of_numpy

from fedbus.errors import TrainingError
from fedbus.model.layout import Array, Weights
from fedbus.strategies.privacy_mechanisms.update_clipping import (
    clipped,
    clipped_block,
    l1_norm,
    l2_norm,
)

WIDTHS: tuple[Literal[16, 32, 64], ...] = (16, 32, 64)


def arrays(bits: Literal[16, 32, 64]) -> st.SearchStrategy[Array]:
    """Draw floating-point arrays of any shape, with denormal, usual and huge numbers."""
    dtype = np.dtype(f"f{bits // 8}")
    most = min(float(np.finfo(dtype).max), 1e150)
    numbers = st.floats(-most, most, width=bits, allow_subnormal=True)
    shapes = of_numpy.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=9)
    return of_numpy.arrays(dtype, shapes, elements=numbers)


updates = st.lists(st.sampled_from(WIDTHS).flatmap(arrays), min_size=1, max_size=3).map(
    lambda each: {f"t{n}": array for n, array in enumerate(each)}
)


def exact_norm(update: Weights, order: int) -> float:
    """Return the norm in extended precision."""
    numbers = np.concatenate([array.reshape(-1).astype(np.longdouble) for array in update.values()])
    powers = (np.abs(numbers) ** order).sum()
    return float(powers if order == 1 else np.sqrt(powers))


@given(update=updates, limit=st.floats(1e-12, 1e6), order=st.sampled_from([1, 2]))
@settings(max_examples=300, deadline=None)
def test_the_result_is_never_above_the_limit(update: Weights, limit: float, order: int) -> None:
    """Rounding to the dtypes of the model included; direction, shapes and dtypes stay."""
    before = {name: array.copy() for name, array in update.items()}
    found = clipped(update, limit, l2_norm if order == 2 else l1_norm)
    assert exact_norm(found.update, order) <= limit
    assert found.norm == pytest.approx(exact_norm(update, order), rel=1e-9, abs=1e-150)
    for name, array in update.items():
        new = found.update[name]
        assert (new.shape, new.dtype) == (array.shape, array.dtype)
        assert np.array_equal(array, before[name])
        assert (np.abs(new) <= np.abs(array)).all()
        assert (new * np.sign(array) >= 0).all()
        if found.norm <= limit * (1 - 1e-6):
            assert np.array_equal(new, array)


@pytest.mark.parametrize("scale", [1e-42, 1e-20, 1.0, 1e15, 1e37])
@pytest.mark.parametrize("count", [1, 7, 70_000])
def test_a_long_update_is_clipped_to_a_millionth_below_the_limit(scale: float, count: int) -> None:
    """In float32 a longer margin would waste signal, a shorter one be refused by collectors."""
    numbers = np.random.default_rng(count).normal(size=count) * scale
    update = {"a": numbers.astype(np.float32)}
    limit = l2_norm(update) / 3
    length = exact_norm(clipped(update, limit).update, 2)
    least = 1 - 2e-6 if scale > 1e-37 else 0.2  # a denormal number has few bits
    assert least * limit <= length <= (1 - 0.99e-6) * limit


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_an_update_without_a_finite_norm_is_no_update(wrong: float) -> None:
    """NaN is below no limit, so a comparison alone would let it through."""
    update = {"a": np.array([1.0, wrong], np.float32)}
    for norm_of in (l1_norm, l2_norm):
        with pytest.raises(
            TrainingError, match=r"the norm of the update is .*: the training diver"
        ):
            clipped(update, 1.0, norm_of)
    with pytest.raises(TrainingError, match="the norm of the update is inf"):
        clipped({"a": np.array([1e300])}, 1.0)


def test_a_combined_update_is_clipped_by_the_norm_of_all_its_blocks() -> None:
    """The collector measures it before, so each block gets the same factor."""
    block = np.array([3.0, 4.0])
    assert clipped_block(block, 100.0, 10.0) == pytest.approx(block / 10, rel=2e-6)
    assert clipped_block(block, 5.0, 10.0) is block
    for wrong in (None, np.nan, np.inf):
        with pytest.raises(ValueError, match="the norm of the combined update is"):
            clipped_block(block, wrong, 10.0)
