"""Compression of updates and versions: what each step does, and bounds on sizes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbus.compression import Content, chain_of, compressed_bounds, decode, encode, loses_numbers
from fedbus.compression.chain import STEP_PARAMETERS
from fedbus.errors import LayoutError, PluginError
from fedbus.model import blob
from fedbus.model.layout import Array, Layout, Tensor
from fedbus.training.params import PluginChoice

LAYOUT = Layout(
    (
        Tensor("dense", (30, 20), "float32"),
        Tensor("half", (7,), "float16"),
        Tensor("mean", (5,), "float32", "statistic"),
        Tensor("own", (3,), "float32", "local"),
        Tensor("steps", (), "uint8"),
        Tensor("wide", (11,), "float64"),
    )
)
TRAINED = 618


def step(name: str, **parameters: float) -> PluginChoice:
    """Return a step as a job chooses it."""
    return PluginChoice(id=name, parameters=parameters)


CHAINS = (
    (),
    (step("cast"),),
    (step("quantize"),),
    (step("quantize", bits=4),),
    (step("quantize", bits=4, block=0),),
    (step("quantize", bits=8, block=10),),
    (step("top-k"),),
    (step("top-k", fraction=0.01), step("quantize", block=0), step("zstandard")),
    (step("top-k", fraction=1), step("cast")),
    (step("random-k", fraction=0.3), step("quantize", bits=4), step("zstandard", level=19)),
    (step("zstandard"),),
)


def update(seed: int, scale: float = 1.0, layout: Layout = LAYOUT) -> dict[str, Array]:
    """Return differences of a layout, by chance."""
    rng = np.random.default_rng(seed)
    return {
        tensor.name: (rng.normal(0, scale, tensor.shape) * 3).astype(tensor.dtype)
        for tensor in layout.shared
    }


def trained(arrays: dict[str, Array]) -> Array:
    """Return all trained numbers of differences in one array."""
    return np.concatenate([arrays[name].ravel() for name in ("dense", "half", "wide")])


def sent_and_read(
    arrays: dict[str, Array], steps: tuple[PluginChoice, ...], frozen: Array | None = None
) -> dict[str, Array]:
    """Return what a collector reads of differences."""
    made = encode(arrays, LAYOUT, steps, np.random.default_rng(5), frozen)
    return blob.decode(decode(made, LAYOUT, steps, frozen), LAYOUT, "delta")


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(CHAINS),
    st.floats(0, 1),
    st.sampled_from((0.0, 1e-8, 1.0, 1e3)),
)
def test_each_blob_is_within_the_bounds_of_its_layout_and_steps(
    seed: int, steps: tuple[PluginChoice, ...], share: float, scale: float
) -> None:
    """With any number of frozen parameters, and for any updates; the same bytes each time."""
    frozen = np.random.default_rng(seed).random(TRAINED) < share
    arrays = update(seed, scale)
    made = encode(arrays, LAYOUT, steps, np.random.default_rng(seed), frozen)
    bounds = compressed_bounds(LAYOUT, steps, int(frozen.sum()))
    assert bounds.least <= len(made) <= bounds.most
    assert made == encode(arrays, LAYOUT, steps, np.random.default_rng(seed), frozen)
    read = blob.decode(decode(made, LAYOUT, steps, frozen), LAYOUT, "delta")
    assert not trained(read)[frozen].any()
    assert np.isfinite(trained(read)).all()


@pytest.mark.parametrize("steps", CHAINS)
def test_what_is_not_trained_arrives_as_it_was(steps: tuple[PluginChoice, ...]) -> None:
    """Statistics and whole numbers, in the dtype of differences; local tensors stay at home."""
    arrays = update(1)
    read = sent_and_read(arrays, steps)
    assert list(read) == ["dense", "half", "mean", "steps", "wide"]
    assert read["mean"].tolist() == arrays["mean"].tolist()
    assert (read["steps"].dtype.name, read["steps"]) == ("int16", arrays["steps"])


@pytest.mark.parametrize("steps", [(), (step("zstandard"),), (step("zstandard", level=1),)])
def test_a_lossless_chain_gives_back_the_same_delta(steps: tuple[PluginChoice, ...]) -> None:
    """All bits of it, also those of float16 and float64."""
    arrays = update(2)
    made = encode(arrays, LAYOUT, steps, np.random.default_rng(5))
    assert decode(made, LAYOUT, steps) == blob.encode(arrays, LAYOUT, "delta")
    assert not loses_numbers(steps)


def test_a_cast_keeps_three_digits_and_clips_what_float16_cannot_hold() -> None:
    """Its largest finite number is 65504."""
    arrays = update(3)
    read = sent_and_read(arrays, (step("cast"),))
    np.testing.assert_allclose(trained(read), trained(arrays), rtol=2**-11, atol=2**-25)
    arrays["wide"][0], arrays["dense"][0, 0] = 1e300, -70_000
    read = sent_and_read(arrays, (step("cast"),))
    assert (read["wide"][0], read["dense"][0, 0]) == (65504, -65504)


@pytest.mark.parametrize(("bits", "levels"), [(8, 127), (4, 7)])
@pytest.mark.parametrize("block", [0, 16])
def test_a_quantized_number_is_a_neighbour_and_right_on_average(
    bits: int, levels: int, block: int
) -> None:
    """No number moves by a whole step, and the mean of many roundings is the number."""
    arrays, steps = update(4), (step("quantize", bits=bits, block=block),)
    rng = np.random.default_rng(0)
    runs = [
        trained(
            blob.decode(decode(encode(arrays, LAYOUT, steps, rng), LAYOUT, steps), LAYOUT, "delta")
        )
        for _ in range(400)
    ]
    greatest = np.abs(trained(arrays)).max()
    largest_step = greatest / levels
    assert all(np.abs(run - trained(arrays)).max() <= largest_step * 1.001 for run in runs)
    assert np.abs(np.mean(runs, axis=0) - trained(arrays)).max() < largest_step * 5 / 40


def test_a_quantized_tensor_of_zeros_stays_zero() -> None:
    """Its scale is 0."""
    arrays = {name: np.zeros_like(array) for name, array in update(0).items()}
    for block in (0, 16):
        assert not trained(sent_and_read(arrays, (step("quantize", block=block),))).any()


def test_top_k_sends_the_greatest_numbers_and_zeros_for_the_rest() -> None:
    """62 of 618 numbers; of equal ones the first are sent."""
    arrays = update(6)
    sent = trained(sent_and_read(arrays, (step("top-k"),)))
    whole = trained(arrays)
    chosen = np.flatnonzero(sent)
    assert chosen.size == 62
    assert np.array_equal(sent[chosen], whole[chosen])
    assert np.abs(np.delete(whole, chosen)).max() <= np.abs(sent[chosen]).min()
    arrays = {name: np.ones_like(array) for name, array in arrays.items()}
    sent = trained(sent_and_read(arrays, (step("top-k"),)))
    assert np.flatnonzero(sent).tolist() == list(range(62))


def test_random_k_sends_another_choice_with_each_seed_and_every_number_as_often() -> None:
    """A third of the numbers in each blob, none of them scaled."""
    arrays, steps = update(7), (step("random-k", fraction=1 / 3),)
    rng = np.random.default_rng(1)
    times = np.zeros(TRAINED)
    for _ in range(600):
        made = encode(arrays, LAYOUT, steps, rng)
        sent = trained(blob.decode(decode(made, LAYOUT, steps), LAYOUT, "delta"))
        chosen = np.flatnonzero(sent)
        assert np.array_equal(sent[chosen], trained(arrays)[chosen])
        assert chosen.size == 206
        times[chosen] += 1
    assert 130 < times.min() < times.max() < 270


def test_random_k_draws_the_same_indices_on_all_machines() -> None:
    """From raw numbers of PCG64, whose stream numpy promises to keep."""
    layout = Layout((Tensor("x", (200_000,), "float32"),))
    steps = (step("random-k", fraction=0.00005),)
    made = encode({"x": np.ones(200_000)}, layout, steps, np.random.default_rng(3))
    (sent,) = blob.decode(decode(made, layout, steps), layout).values()
    assert np.flatnonzero(sent).tolist() == [
        18045,
        49367,
        52772,
        84655,
        85421,
        98264,
        188945,
        189055,
        196027,
        199618,
    ]


def test_a_tenth_of_the_numbers_in_a_byte_each_is_a_twentieth_of_the_bytes() -> None:
    """Of 100,000 numbers; with 4 bits fewer still."""
    layout = Layout((Tensor("x", (100_000,), "float32"),))
    arrays = {"x": np.random.default_rng(0).normal(size=100_000)}
    sizes = [
        len(
            encode(
                arrays, layout, (step("top-k"), coding, step("zstandard")), np.random.default_rng(0)
            )
        )
        for coding in (step("quantize"), step("quantize", bits=4))
    ]
    assert sizes[0] < 17_000
    assert sizes[1] < 12_500


@pytest.mark.parametrize("content", ["delta", "plain"])
def test_weights_are_compressed_as_differences_are(content: Content) -> None:
    """A thin version has all tensors of a plain one, local ones too."""
    tensors = LAYOUT.tensors if content == "plain" else LAYOUT.shared
    arrays = {tensor.name: np.full(tensor.shape, 3, tensor.dtype) for tensor in tensors}
    steps = (step("quantize"), step("zstandard"))
    made = encode(arrays, LAYOUT, steps, np.random.default_rng(0), content=content)
    bounds = compressed_bounds(LAYOUT, steps, content=content)
    assert bounds.least <= len(made) <= bounds.most
    back = blob.decode(decode(made, LAYOUT, steps, content=content), LAYOUT, content)
    assert {name: array.dtype for name, array in back.items()} == {
        name: array.dtype for name, array in arrays.items()
    }
    for array in back.values():
        np.testing.assert_allclose(array, 3, rtol=1e-3)


def test_a_model_without_trained_tensors_is_sent_as_it_is() -> None:
    """Nothing can be left out of it."""
    layout = Layout((Tensor("count", (4,), "int32"),))
    steps = (step("top-k"), step("quantize"))
    made = encode({"count": np.arange(4)}, layout, steps, np.random.default_rng(0))
    (read,) = blob.decode(decode(made, layout, steps), layout).values()
    assert read.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"dense": np.full((30, 20), np.nan)}, "tensor 'dense': a number that is not finite"),
        ({"wide": np.full(11, np.inf)}, "tensor 'wide': a number that is not finite"),
        ({"half": np.ones(8)}, "tensor 'half': expected floats (7,), got float64 (8,)"),
        ({"mean": np.ones(5)}, "tensor 'mean': float64 (5,) where the layout has float32 (5,)"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(change: dict[str, Array], sentence: str) -> None:
    """No NaN is quantized."""
    with pytest.raises(LayoutError) as error:
        encode(update(0) | change, LAYOUT, (), np.random.default_rng(0))
    assert str(error.value) == sentence


@pytest.mark.parametrize("name", ["mean", "dense"])
def test_a_missing_array_is_named(name: str) -> None:
    """Whether it is trained or not."""
    arrays = update(0)
    del arrays[name]
    with pytest.raises(LayoutError, match=repr(name)):
        encode(arrays, LAYOUT, (), np.random.default_rng(0))


def test_flags_of_frozen_numbers_are_one_for_each_trained_number() -> None:
    """Another model's do not fit."""
    with pytest.raises(LayoutError, match="expected 618 flags of frozen numbers, got bool"):
        sent_and_read(update(0), (), np.zeros(617, np.bool_))
    with pytest.raises(LayoutError, match="619 frozen numbers of 618"):
        compressed_bounds(LAYOUT, (), 619)


@pytest.mark.parametrize(
    ("steps", "sentence"),
    [
        ((step("gzip"),), "no compression step 'gzip'; there are top-k, random-k, cast, "),
        ((step("cast", bits=8),), "compression step 'cast' has no parameter 'bits'"),
        ((step("top-k", fraction=0),), "top-k: fraction is above 0 and at most 1, not 0"),
        ((step("random-k", fraction=True),), "random-k: fraction is above 0 and at most 1, "),
        ((step("quantize", bits=5),), "quantize: bits is 8 or 4, not 5"),
        ((step("quantize", block=-1),), "quantize: block is a whole number from 0 to 16777216"),
        ((step("zstandard", level=22),), "zstandard: level is a whole number from 1 to 19"),
        ((step("zstandard"), step("cast")), "compression step 'cast' after 'zstandard': numbers"),
        ((step("top-k"), step("random-k")), "compression step 'random-k' after 'top-k': "),
        ((step("quantize"), step("top-k")), "compression step 'top-k' after 'quantize': "),
    ],
)
def test_steps_that_are_no_chain_are_refused(
    steps: tuple[PluginChoice, ...], sentence: str
) -> None:
    """By the step and the parameter."""
    with pytest.raises(PluginError) as error:
        chain_of(steps)
    assert str(error.value).startswith(sentence)


@pytest.mark.parametrize("name", ["cast", "quantize", "top-k", "random-k"])
def test_a_step_that_loses_something_leaves_something_to_send(name: str) -> None:
    """Agents keep a residual for it."""
    assert loses_numbers((step(name), step("zstandard")))


def test_every_step_has_defaults() -> None:
    """A bare name in a job is enough."""
    for name in STEP_PARAMETERS:
        (made,) = chain_of((step(name),)).steps
        assert made.parameters == STEP_PARAMETERS[name]
