"""First weights by a layout alone."""

import numpy as np

from fedbus.model.first_weights import drawn_weights, zero_weights
from fedbus.model.layout import Layout, Weights

OWN: Weights = {
    "bias": np.zeros(30, np.float32),
    "count": np.array(7),
    "scale": np.ones(30, np.float64),
    "step": np.array(3),
    "variance": np.ones(30, np.float32),
    "weight": np.zeros((50, 30), np.float32),
}
LAYOUT = Layout.of(OWN, {"variance": "statistic", "count": "statistic"})


def test_zeros_are_zeros_of_the_layouts_shapes_and_dtypes() -> None:
    """Statistics are those of the framework, if it is there."""
    alone, beside = zero_weights(LAYOUT), zero_weights(LAYOUT, OWN)
    for made in (alone, beside):
        LAYOUT.check(made)
        assert not made["weight"].any()
        assert not made["scale"].any()
    assert not alone["variance"].any()
    assert beside["variance"].all()
    assert beside["count"] == 7


def test_drawn_weights_have_the_variance_of_he() -> None:
    """And biases are zero, factors one where the framework has them at one."""
    made = drawn_weights(LAYOUT, 3, OWN)
    LAYOUT.check(made)
    assert abs(made["weight"].std() / np.sqrt(2 / 50) - 1) < 0.05
    assert not made["bias"].any()
    assert (made["scale"] == 1).all()
    assert (made["variance"] == 1).all()
    assert made["step"] == 0
    alone = drawn_weights(LAYOUT, 3)
    np.testing.assert_array_equal(alone["weight"], made["weight"])
    assert not alone["scale"].any()


def test_a_seed_gives_the_same_weights_again() -> None:
    """So that two deployments can begin alike; another seed gives others."""
    first, again, other = (drawn_weights(LAYOUT, seed)["weight"] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
