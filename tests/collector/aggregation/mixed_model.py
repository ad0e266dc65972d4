"""A model with every kind of tensor, and the comparison of its aggregate with whole arrays."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedbus.model.layout import Role
from tests.collector.aggregation.aggregated_round import Numbers

ROLES: dict[str, Role] = {"c.variance": "statistic", "e.own": "local"}
SHAPES = {"a.kernel": (3, 5), "b.half": (4,), "d.double": (7,), "f.bias": (2,)}
FLOATS = {"a.kernel": "float32", "b.half": "float16", "d.double": "float64", "f.bias": "float32"}
TRAINED = tuple(SHAPES)


def model(rng: np.random.Generator) -> Numbers:
    """Draw the weights of a model with every kind of tensor."""
    weights: Numbers = {
        name: rng.standard_normal(shape).astype(FLOATS[name]) for name, shape in SHAPES.items()
    }
    weights["c.variance"] = rng.random(6).astype("float32")
    weights["e.own"] = rng.standard_normal(3).astype("float32")
    weights["g.count"] = rng.integers(0, 1000, (2,))
    weights["h.mask"] = rng.random(4) < 0.5
    weights["i.small"] = rng.integers(0, 100, (3,)).astype("uint8")
    return weights


def deltas_of(base: Numbers, news: list[Numbers], name: str) -> NDArray[np.float64]:
    """Return the differences of one tensor, as the agents send them, shape (agents, …)."""
    if base[name].dtype.kind == "f":
        return np.stack([(new[name] - base[name]).astype("f8") for new in news])
    return np.stack([new[name].astype("f8") - base[name].astype("f8") for new in news])


def check(name: str, found: NDArray[Any], wanted: NDArray[np.float64]) -> None:
    """Compare in the precision of the tensor."""
    eps = float(np.finfo(found.dtype).eps)
    np.testing.assert_allclose(found.astype("f8"), wanted, rtol=eps, atol=20 * eps, err_msg=name)


def check_rounded(base: Numbers, found: Numbers, name: str, change: NDArray[np.float64]) -> None:
    """Whole numbers change by the rounded combination."""
    moved = found[name].astype("f8") - base[name].astype("f8")
    assert (np.abs(moved - change) <= 0.5 + 1e-9).all(), name
