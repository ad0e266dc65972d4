"""Update transforms, server optimizer and state of a round, against whole arrays."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fedbus.blobs.spool import Spools
from fedbus.errors import LayoutError, PluginError
from fedbus.model.layout import Role
from fedbus.plugins import Coefficients, Combined, UpdateFacts
from fedbus.plugins.collector_part_calls import CombinedTransformCalls, ServerOptimizerCalls
from fedbus.plugins.part_caller import PartCaller
from fedbus.strategies.aggregation.mean import Mean
from fedbus_collector.aggregation import new_version, tensor_runs
from fedbus_collector.aggregation.server_step import ServerStep
from tests.collector.aggregation.aggregated_round import AggregatedRound, Numbers

ROLES: dict[str, Role] = {"c.variance": "statistic", "e.own": "local"}
TRAINED = {"a.kernel": (3, 5), "d.double": (7,), "f.bias": (2,)}
LENGTH = 15 + 7 + 2
"""The length of a section."""


class Momentum:
    """A server optimizer that uses all it is given: two state arrays, two sections, the facts."""

    def apply(
        self, base: NDArray[Any], combined: Combined, state: Mapping[str, NDArray[Any]]
    ) -> NDArray[Any]:
        """Change both state arrays in place, and return the new weights."""
        state["fast"][:] = 0.5 * state["fast"] + combined.update
        state["slow"][:] = state["slow"] + combined.sections["extra"]
        step = state["fast"] + 0.25 * state["slow"] - combined.sections["drag"]
        scale = combined.agents / (combined.population or 1) * combined.round
        found: NDArray[Any] = base * 0.9 + step * scale
        return found


class Scaled:
    """A transform that multiplies; `then` adds, so that the order of two is visible."""

    def __init__(self, factor: float, then: float) -> None:
        self._factor, self._then = factor, then

    def transform_combined(self, combined: Combined) -> NDArray[Any]:
        """Return a changed combined update."""
        return combined.update * self._factor + self._then


class Halved:
    """An aggregator whose coefficients add up to less than 1, and the base's to more."""

    def weigh(self, facts: Sequence[UpdateFacts], _gram: None) -> Coefficients:
        """Return half the mean's."""
        return Coefficients([0.5 / len(facts)] * len(facts), 1.25)


class Largest:
    """An aggregator that is not linear."""

    def combine(self, blocks: NDArray[Any], _weights: NDArray[Any]) -> NDArray[Any]:
        """Return the largest of all updates, number by number."""
        found: NDArray[Any] = blocks.max(axis=0)
        return found


RULES: Mapping[str, Any] = {
    "mean": (Mean(weighted=False), lambda stack: stack.mean(axis=0), 1.0),
    "halved": (Halved(), lambda stack: 0.5 * stack.mean(axis=0), 1.25),
    "largest": (Largest(), lambda stack: stack.max(axis=0), 1.0),
}


def optimizer(part: object = None, *, third_party: bool = False) -> ServerOptimizerCalls:
    """Make the calls of a server optimizer."""
    caller = PartCaller("server optimizer", "momentum", third_party, seconds=5.0)
    return ServerOptimizerCalls(part or Momentum(), caller)  # type: ignore[arg-type]  # some are wrong


def transform(part: object, *, third_party: bool = False) -> CombinedTransformCalls:
    """Make the calls of an update transform."""
    caller = PartCaller("update transform", "scaled", third_party, seconds=5.0)
    return CombinedTransformCalls(part, caller)  # type: ignore[arg-type]  # some are wrong


def model(rng: np.random.Generator) -> Numbers:
    """Draw the weights of a model with tensors that are not trained between those that are."""
    return {
        "a.kernel": rng.standard_normal((3, 5)).astype("float32"),
        "c.variance": rng.random(6).astype("float32"),
        "d.double": rng.standard_normal(7),
        "e.own": rng.standard_normal(3).astype("float32"),
        "f.bias": rng.standard_normal(2).astype("float32"),
        "g.count": rng.integers(0, 1000, (2,)),
    }


def joined(arrays: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
    """Join the trained tensors as a section has them."""
    return np.concatenate([arrays[name].ravel().astype("f8") for name in TRAINED])


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    agents=st.integers(1, 4),
    rule=st.sampled_from(sorted(RULES)),
    files=st.booleans(),
    length=st.sampled_from([1, 4, 65536]),
    first=st.booleans(),
    third_party=st.booleans(),
)
def test_a_step_is_what_it_is_on_whole_arrays(  # noqa: PLR0917 - hypothesis passes them by name
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    agents: int,
    rule: Literal["mean", "halved", "largest"],
    files: bool,
    length: int,
    first: bool,
    third_party: bool,
) -> None:
    """Update, sections and state of a block belong together, whatever lies between the tensors."""
    part, combined_by, base_factor = RULES[rule]
    rng = np.random.default_rng(seed)
    base, news = model(rng), [model(rng) for _ in range(agents)]
    sections = [
        {name: rng.standard_normal(LENGTH).astype("float32") for name in ("extra", "drag")}
        for _ in news
    ]
    names = ("fast", "slow")
    old = {name: rng.standard_normal(LENGTH).astype("float32") for name in names}
    round_ = AggregatedRound(
        base,
        ROLES,
        aggregator=part,
        sections=("extra", "drag"),
        step=ServerStep(
            optimizer=optimizer(third_party=third_party),
            transforms=(transform(Scaled(2.0, 0.0)), transform(Scaled(1.0, 3.0))),
            population=8,
            round=3,
        ),
        state_names=names,
        spools=Spools(0 if files else 1 << 30, tmp_path_factory.mktemp("spools")),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(new_version, "BLOCK_NUMBERS", length)
        patch.setattr(new_version, "THIRD_PARTY_BLOCK_NUMBERS", length)
        patch.setattr(tensor_runs, "STACK_BYTES", 8 * agents * length)
        for new, own in zip(news, sections, strict=True):
            assert round_.give(new, 1, **own) == {}
        found = round_.close(None if first else old)

    start = joined(base)
    deltas = [{n: (new[n] - base[n]) for n in TRAINED} for new in news]
    update = combined_by(np.stack([joined(delta) for delta in deltas]))
    update += (base_factor - 1) * start
    update = 2.0 * (update + 3.0)
    extra, drag = (
        combined_by(np.stack([own[name].astype("f8") for own in sections]))
        for name in ("extra", "drag")
    )
    state = {name: np.zeros(LENGTH) if first else old[name].astype("f8") for name in names}
    step = Combined(
        update=update,
        sections={"extra": extra, "drag": drag},
        agents=agents,
        population=8,
        round=3,
    )
    wanted = Momentum().apply(start, step, state)
    np.testing.assert_allclose(joined(found), wanted, rtol=1e-6, atol=1e-5)
    for name in names:
        np.testing.assert_allclose(round_.state[name], state[name], rtol=1e-6, atol=1e-6)
    assert found["e.own"].tobytes() == base["e.own"].tobytes()
    variances = np.stack([new["c.variance"] - base["c.variance"] for new in news]).astype("f8")
    change = variances.max(0) if rule == "largest" else variances.mean(0)
    np.testing.assert_allclose(found["c.variance"], base["c.variance"] + change, rtol=1e-6)
    assert found["g.count"].dtype == np.int64


def test_transforms_without_an_optimizer_change_what_is_added() -> None:
    """The state of the round has no part in it."""
    step = ServerStep(transforms=(transform(Scaled(0.5, 1.0)),))
    round_ = AggregatedRound({"w": np.full(2, 10.0)}, step=step)
    round_.give({"w": np.full(2, 14.0)})
    np.testing.assert_array_equal(round_.close()["w"], 10.0 + 0.5 * 4.0 + 1.0)


def test_an_optimizer_without_state_needs_none() -> None:
    """A server learning rate is one."""

    class Sgd:
        """Half of the combined update."""

        def apply(self, base: Any, combined: Combined, state: Any) -> Any:  # noqa: ANN401 - arrays
            """Return the new weights."""
            assert state == {}
            return base + 0.5 * combined.update

    round_ = AggregatedRound({"w": np.zeros(2)}, step=ServerStep(optimizer=optimizer(Sgd())))
    round_.give({"w": np.full(2, 4.0)})
    np.testing.assert_array_equal(round_.close()["w"], 2.0)
    assert round_.made is not None
    assert round_.made.state is None


class Grows:
    """A server optimizer whose weights or state leave the range of their dtype."""

    def __init__(self, weights: float, state: float) -> None:
        self._weights, self._state = weights, state

    def apply(self, base: Any, _combined: Combined, state: Any) -> Any:  # noqa: ANN401 - arrays
        """Return large weights."""
        state["m"][:] = self._state
        return base + self._weights


@pytest.mark.parametrize(
    ("part", "error", "sentence"),
    [
        (
            Grows(1e5, 0.0),
            LayoutError,
            "tensor 'w': inf .* new value of server optimizer 'momentum' overflows float16",
        ),
        (
            Grows(0.0, 1e39),
            LayoutError,
            "state 'm' of the strategy: inf .* server optimizer 'momentum' overflows float32",
        ),
        (
            Grows(np.nan, 0.0),
            PluginError,
            "server optimizer 'momentum': the result of apply has nan",
        ),
        (Grows(0.0, -np.inf), PluginError, "'momentum': the state 'm' after apply has -inf"),
    ],
)
def test_numbers_that_no_version_can_hold_make_none(
    part: Grows, error: type[Exception], sentence: str
) -> None:
    """The sentence names the tensor, the array, or the plug-in."""
    step = ServerStep(optimizer=optimizer(part))
    base = {"w": np.zeros(2, np.float16)}
    round_ = AggregatedRound(base, step=step, state_names=("m",))
    round_.give(base)
    with pytest.raises(error, match=sentence):
        round_.close()


class Multiplies:
    """An aggregator, or a transform, that leaves the range of float16."""

    def weigh(self, facts: Sequence[UpdateFacts], _gram: None) -> Coefficients:
        """Double the updates."""
        return Coefficients([2.0] * len(facts))

    def transform_combined(self, combined: Combined) -> Any:  # noqa: ANN401 - arrays
        """Return large differences."""
        return combined.update * 1e6


@pytest.mark.parametrize(
    ("step", "sentence"),
    [
        (ServerStep(aggregator="aggregator 'x'"), "the combined update of aggregator 'x'"),
        (
            ServerStep(aggregator="aggregator 'x'", transforms=(transform(Multiplies()),)),
            "the update of update transform 'scaled'",
        ),
    ],
)
def test_a_combined_update_that_overflows_names_the_part_of_the_strategy(
    step: ServerStep, sentence: str
) -> None:
    """The author of a plug-in looks for it there."""
    round_ = AggregatedRound({"w": np.zeros(2, np.float16)}, aggregator=Multiplies(), step=step)
    round_.give({"w": np.full(2, 60000, np.float16)})
    with pytest.raises(LayoutError, match=f"tensor 'w': inf .* {sentence} overflows float16"):
        round_.close()


def test_a_state_of_another_layout_makes_no_version() -> None:
    """It has the right size, and belongs to other names."""
    base = {"w": np.zeros(2)}
    step = ServerStep(optimizer=optimizer(Grows(0.0, 0.0)))
    round_ = AggregatedRound(base, step=step, state_names=("m",))
    round_.give(base)
    foreign = AggregatedRound({"n": np.zeros(2, np.float32)}).base
    with pytest.raises(LayoutError, match="a blob of layout"):
        round_.close(foreign)
