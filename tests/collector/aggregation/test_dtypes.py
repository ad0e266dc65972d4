"""A round's mean in every dtype a layout may have, against exact arithmetic."""

from fractions import Fraction
from typing import Any

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fedbus.errors import LayoutError
from fedbus.model.blob import BLOCK_NUMBERS, blank, writable_arrays
from fedbus.model.layout import DTYPES
from tests.collector.aggregation.aggregated_round import AggregatedRound, Numbers


def whole(dtype: str) -> st.SearchStrategy[NDArray[Any]]:
    """Draw an array of three integers, or of three booleans."""
    if dtype == "bool":
        return arrays.arrays(dtype, (3,))
    info = np.iinfo(dtype)
    # The weighted sums below stay under 2^53, so that float64 holds them exactly.
    low, high = max(int(info.min), -(2**40)), min(int(info.max), 2**40)
    return arrays.arrays(dtype, (3,), elements=st.integers(low, high))


@settings(max_examples=60)
@given(
    st.sampled_from(sorted(d for d in DTYPES if "float" not in d)),
    st.lists(st.integers(1, 1000), min_size=1, max_size=4),
    st.data(),
)
def test_whole_numbers_become_the_rounded_mean_of_what_agents_have(
    dtype: str, weights: list[int], data: st.DataObject
) -> None:
    """A batch normalisation's counter, a mask, an index: each in its own dtype."""
    base = data.draw(whole(dtype))
    news = [data.draw(whole(dtype)) for _ in weights]
    averaging = AggregatedRound({"n": base})
    for new, weight in zip(news, weights, strict=True):
        assert averaging.give({"n": new}, weight) == {}
    found = averaging.close()["n"]
    assert found.dtype == base.dtype
    for at in range(3):
        pairs = zip(news, weights, strict=True)
        mean = Fraction(sum(int(new[at]) * weight for new, weight in pairs), sum(weights))
        assert abs(int(found[at]) - mean) <= Fraction(1, 2) + Fraction(1, 1000)


@settings(max_examples=40)
@given(st.sampled_from(["float16", "float32", "float64"]), st.data())
def test_floats_are_averaged_in_float64_and_rounded_to_their_dtype(
    dtype: str, data: st.DataObject
) -> None:
    """To half a unit in the last place, and what the delta itself was rounded by."""
    few = st.floats(-1000, 1000, width=16)
    base, one, two = (data.draw(arrays.arrays(dtype, (3,), elements=few)) for _ in range(3))
    averaging = AggregatedRound({"w": base})
    averaging.give({"w": one}, 1)
    averaging.give({"w": two}, 3)
    exact = (one.astype("f8") + 3 * two.astype("f8")) / 4
    eps = float(np.finfo(dtype).eps)
    found = averaging.close()["w"]
    assert found.dtype == np.dtype(dtype)
    np.testing.assert_allclose(found.astype("f8"), exact, rtol=eps, atol=3000 * eps)


def test_every_dtype_of_one_layout_is_averaged_beside_the_others() -> None:
    """Each tensor is found where the layout has it, in the plain blob, the delta and the total."""
    names = sorted(DTYPES)
    base: Numbers = {f"{at:02}.{n}": np.zeros((2, 3), n) for at, n in enumerate(names)}
    base["06.wide"] = np.zeros(BLOCK_NUMBERS + 5, np.float32)  # more than one block
    averaging = AggregatedRound(base)
    new = {name: np.ones_like(array) for name, array in base.items()}
    other = {
        name: array + np.array(2, array.dtype) * (array.dtype != bool)
        for name, array in new.items()
    }
    averaging.give(new)
    averaging.give({n: np.ones_like(a) if a.dtype == bool else a for n, a in other.items()})
    for name, array in averaging.close().items():
        wanted = 1 if array.dtype == bool else 2
        np.testing.assert_array_equal(array, np.full_like(array, wanted), err_msg=name)


def test_a_large_constant_stays_what_it_is_to_the_last_bit() -> None:
    """A table of hashes or a seed beside the weights: in float64 it would lose its last bits."""
    constants = np.array([2**63 - 1, -(2**63), 2**53 + 1])
    averaging = AggregatedRound({"ids": constants, "w": np.zeros(1, np.float32)})
    for weight in (3, 7, 359):
        averaging.give({"ids": constants, "w": np.ones(1, np.float32)}, weight)
    np.testing.assert_array_equal(averaging.close()["ids"], constants)


@pytest.mark.parametrize("flipped", [1, 2])
def test_a_truth_value_is_what_most_of_the_weight_says(flipped: int) -> None:
    """Of a tie the base decides."""
    averaging = AggregatedRound({"mask": np.array([False, True])})
    averaging.give({"mask": np.array([True, False])}, 2)
    averaging.give({"mask": np.array([flipped == 2, flipped != 2])}, 2)
    wanted = [True, False] if flipped == 2 else [False, True]
    assert averaging.close()["mask"].tolist() == wanted


def test_local_tensors_never_leave_the_agents_and_stay_in_the_model() -> None:
    """They are in no update, and the next version has the base's."""
    base: Numbers = {"local": np.full(3, 7, np.float32), "w": np.zeros(2, np.float32)}
    averaging = AggregatedRound(base, {"local": "local"})
    averaging.give({"local": np.full(3, 99, np.float32), "w": np.ones(2, np.float32)})
    found = averaging.close()
    assert (found["local"].tolist(), found["w"].tolist()) == ([7, 7, 7], [1, 1])


def test_a_mean_beyond_float16_is_refused_by_name() -> None:
    """An infinity would be in every version after it."""
    most = np.full(2, 65504, np.float16)
    averaging = AggregatedRound({"bias": np.zeros(2, np.float16), "half": most})
    blob = blank(averaging.layout, "delta")
    writable_arrays(blob, averaging.layout)["half"][:] = most
    assert averaging.offer(bytes(blob)) == {}
    with pytest.raises(LayoutError, match=r"tensor 'half': inf .* the mean overflows float16"):
        averaging.close()


@pytest.mark.parametrize(
    ("dtype", "base", "move"),
    [
        ("int8", 100, 100),
        ("uint8", 5, -6),
        ("int64", 2**63 - 1, 1),
        ("uint64", 0, -1),
        ("bool", 1, 1),
    ],
)
def test_a_sum_that_wraps_is_refused_by_name(dtype: str, base: int, move: int) -> None:
    """No honest agents make one, and it would turn the largest number into the smallest."""
    averaging = AggregatedRound({"n": np.array([base], dtype)})
    blob = blank(averaging.layout, "delta")
    writable_arrays(blob, averaging.layout)["n"][:] = move
    assert averaging.offer(bytes(blob)) == {}
    with pytest.raises(LayoutError, match=f"tensor 'n': .* more than the base is no {dtype}"):
        averaging.close()


@pytest.mark.parametrize(
    ("dtype", "move", "sentence"),
    [
        ("bool", 2, "2 changes no bool"),
        ("int8", -256, "-256 changes no int8"),
        ("uint16", 65536, "65536 changes no uint16"),
        ("float16", np.inf, "inf is not a finite number"),
        ("float64", np.nan, "nan is not a finite number"),
    ],
)
def test_a_difference_that_no_two_numbers_have_is_refused(
    dtype: str, move: float, sentence: str
) -> None:
    """The agent is refused, with the tensor's name, and the others count."""
    averaging = AggregatedRound({"a": np.zeros(2, np.float32), "n": np.zeros(3, dtype)})
    blob = blank(averaging.layout, "delta")
    writable_arrays(blob, averaging.layout)["n"][1] = move
    assert averaging.offer(bytes(blob)) == {"agent.0": f"tensor 'n': {sentence}"}


def test_a_mean_of_whole_numbers_that_no_64_bits_hold_is_refused() -> None:
    """Two agents that lie can add up to it."""
    averaging = AggregatedRound({"n": np.zeros(1, np.uint64)})
    blob = blank(averaging.layout, "delta")
    writable_arrays(blob, averaging.layout)["n"][:] = 2**63 - 1
    averaging.offer(bytes(blob))
    with pytest.raises(LayoutError, match=r"tensor 'n': .* is no uint64"):
        averaging.close()
