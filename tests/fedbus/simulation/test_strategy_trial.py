"""Trial of a strategy's parts: what a collector and agents would refuse, before a job."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fedbus.errors import PluginError
from fedbus.model.layout import Array, Weights
from fedbus.plugins import (
    Block,
    Coefficients,
    Combined,
    Group,
    LocalEnd,
    LocalStart,
    PrivateTraining,
    PrivateUpdate,
    RoundNoise,
    UpdateFacts,
    find_all,
    load,
)
from fedbus.simulation.plugin_trial import TrialInputs, try_plugin
from fedbus.training.local_terms import LocalTerms

PARTS: tuple[Group, ...] = (
    "strategies",
    "aggregators",
    "server_optimizers",
    "objectives",
    "update_transforms",
)


def said(group: Group, made: object, **parameters: object) -> str:
    """Join what a trial says."""
    return "\n".join(try_plugin(group, made, TrialInputs(parameters, "own")))


COHORT = {"num_sampled_clients": 20}
CLIPPED = {"clipping_norm": 1.0, **COHORT}
REQUIRED: Mapping[str, Mapping[str, float]] = {
    "dp-adaptive": COHORT,
    "dp-banded": {
        "noise_multiplier": 1.0,
        "min_separation": 3,
        "max_participations": 4,
        **CLIPPED,
    },
    "dp-fixed": {"noise_multiplier": 1.0, **CLIPPED},
    "ldp-gaussian": {"noise_multiplier": 1.0, **CLIPPED},
    "ldp-laplace": {"epsilon": 1.0, **CLIPPED},
    "ldp-randomized-response": {"epsilon": 1.0, **CLIPPED},
    "metric-privacy": {"noise_multiplier": 1.0, **CLIPPED},
}
"""Parameters without defaults, of privacy mechanisms."""


@pytest.mark.parametrize(
    ("group", "name"), [(group, each.name) for group in PARTS for each in find_all(group)]
)
def test_each_part_that_fedbus_ships_passes(group: Group, name: str) -> None:
    """With its default parameters."""
    inputs = TrialInputs(dict(REQUIRED.get(name, {})), name)
    assert list(try_plugin(group, load(group, name), inputs))


class Trimmed:
    """The mean of each number without its highest and lowest values; wrong in one way or not."""

    def __init__(self, cut: int = 1, how: str = "") -> None:
        self.cut, self.how = cut, how
        self.least_updates = 2 * cut + 1
        self.calls = 0

    def combine(self, blocks: Array, _weights: Array) -> Any:  # noqa: ANN401 - wrong ones as well
        self.calls += 1
        match self.how:
            case "in place":
                blocks.sort(axis=0)
            case "whole norms":
                blocks = blocks / (1 + np.linalg.norm(blocks, axis=1, keepdims=True))
            case "by chance":
                return blocks[0] * self.calls
            case "transposed":
                return np.median(blocks, axis=1)
            case "large":
                return blocks[0] * 1e39
            case "by spread":
                return (blocks[0] - blocks[1]) / np.ptp(blocks, axis=0)
            case "by spread quietly":
                with np.errstate(all="ignore"):
                    return (blocks[0] - blocks[1]) / np.ptp(blocks, axis=0)
        ordered = np.sort(blocks, axis=0)
        return ordered[self.cut : len(ordered) - self.cut].mean(axis=0)


class BySteps:
    """Weights of the numbers of steps; asks for them or not."""

    def __init__(self, *, asks: bool) -> None:
        if asks:
            self.facts = ("steps",)

    def weight(self, facts: UpdateFacts) -> float:
        """Return the number of steps."""
        assert facts.steps is not None
        return float(facts.steps)


class Nothing:
    def weight(self, _facts: UpdateFacts) -> float:
        """Use no update."""
        return 0.0


class ByChance:
    def __init__(self) -> None:
        self.calls = 0

    def weight(self, facts: UpdateFacts) -> float:
        """Return another weight each time."""
        self.calls += 1
        return float(facts.examples) ** self.calls


class Shortest:
    """The update of the smallest norm, and half of the base."""

    def __init__(self, gram: str = "model", base: float = 0.5) -> None:
        if gram != "none":
            self.gram = gram
        self.base = base

    def weigh(self, facts: Sequence[UpdateFacts], gram: Array | None) -> Coefficients:
        """Find it by the diagonal of the Gram matrix."""
        assert gram is not None
        model = gram.sum(axis=0) if getattr(self, "gram", "") == "tensors" else gram
        norms = np.diag(model)[1:]
        best = int(norms.argmin())
        return Coefficients([float(n == best) for n in range(len(facts))], self.base)


class ShortestOnly(Shortest):
    def combine(self, blocks: Array, weights: Array) -> Array:
        """Check that only the updates with a coefficient come here."""
        assert blocks.shape[0] == len(weights) == 1
        return np.asarray(blocks[0])


def test_an_aggregator_is_tried_with_several_rounds_of_updates() -> None:
    """A user sees that one hostile update moves the mean and not the rule."""
    lines = said("aggregators", Trimmed).splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "3 updates",
        "7 updates",
        "7 equal updates",
        "7 updates of zeros",
        "7 updates, one of them -1000-fold",
    ]
    norm, to_mean, to_median = (float(part.split()[-1]) for part in lines[-1].split(", ")[-3:])
    assert norm < 20
    assert to_mean > 4000
    assert to_median < 3
    assert said("aggregators", Trimmed, cut=4).startswith("9 updates: ")


def test_coefficients_are_applied_to_the_base_as_well() -> None:
    """As a collector does; inner products of tensors add up to those of the model."""
    by_model, by_tensor = (
        said("aggregators", Shortest, gram=kind) for kind in ("model", "tensors")
    )
    assert by_model == by_tensor
    assert by_model != said("aggregators", Shortest, base=1.0)
    assert said("aggregators", ShortestOnly) == by_model


def test_facts_come_if_they_are_asked_for() -> None:
    """Without them, the message says how to ask."""
    assert "7 updates" in said("aggregators", BySteps, asks=True)
    with pytest.raises(
        PluginError, match=r"does not ask for: set facts = \('steps', 'base_loss'\)"
    ):
        said("aggregators", BySteps, asks=False)
    with pytest.raises(PluginError, match="gram = 'model' or 'tensors'"):
        said("aggregators", Shortest, gram="none")


@pytest.mark.parametrize(
    ("made", "parameters", "sentence"),
    [
        (Trimmed, {"how": "in place"}, r"aggregator 'own': .*read-only.* \(3 updates\)"),
        (Trimmed, {"how": "whole norms"}, "a block cut in two gave other numbers"),
        (Trimmed, {"how": "by chance"}, "a block cut in two gave other numbers"),
        (
            Trimmed,
            {"how": "transposed"},
            r"the result of combine has shape \(3,\); expected \(240,\)",
        ),
        (Trimmed, {"how": "by spread quietly"}, r"nan at position 0 \(7 equal updates\)"),
        (Trimmed, {"how": "large"}, r"3 updates: the combined update has .* overflows float32"),
        (ByChance, {}, "1 update: a repeated call gave another result; it must depend on"),
        (Nothing, {}, "the weights of all updates are 0"),
        (Trimmed, {"cut": -1}, "least_updates: expected a whole number of at least 1, got -1"),
        (Trimmed, {"cut": "many"}, "cut: expected a whole number, got 'many'"),
        (Trimmed, {"cuts": 1}, "unknown parameter 'cuts'; it takes cut, how"),
        (BySteps, {}, "parameter 'asks' is missing: true or false; give it with --config"),
        (lambda: 3, {}, r"no method weight\(facts\) or weigh"),
    ],
)
def test_what_an_aggregator_does_wrong_is_named(
    made: object, parameters: Mapping[str, object], sentence: str
) -> None:
    """A job would fail at its first round, on another machine."""
    with pytest.raises(PluginError, match=sentence):
        said("aggregators", made, **parameters)


class Momentum:
    """Adds the mean of all updates so far."""

    state = ("momentum",)

    def __init__(self, rate: float = 1.0, how: str = "") -> None:
        self.rate, self.how = rate, how
        self.kept: Block | float = 0.0

    def apply(self, base: Block, combined: Combined, state: Mapping[str, Block]) -> Block:
        """Change the momentum in place."""
        match self.how:
            case "own memory":
                self.kept = self.kept + combined.update.sum()
                return base + self.kept
            case "whole norm":
                return base + combined.update / np.linalg.norm(combined.update)
            case "in place":
                base += combined.update
            case "population":
                return base + combined.update * (combined.agents / combined.population)
            case "never":
                raise RuntimeError("no")
            case "nan":
                state["momentum"][:] = np.nan
                return base.copy()
            case "large":
                state["momentum"][:] = 1e300
            case "large state":
                state["momentum"][:] = 1e39
                return base.copy()
            case "whole state":
                state["momentum"][:] = combined.update.sum()
        state["momentum"][:] += self.rate * combined.update
        return base + state["momentum"]


class Counted(Momentum):
    needs_population = True
    sections = ("control",)

    def apply(self, base: Block, combined: Combined, state: Mapping[str, Block]) -> Block:
        """Add a share of a section."""
        share = combined.agents / combined.population
        return super().apply(
            base, replace(combined, update=share * combined.sections["control"]), state
        )


def test_a_server_optimizer_is_tried_in_three_rounds() -> None:
    """State stays from round to round."""
    lines = said("server_optimizers", Momentum).splitlines()
    assert [line.partition(":")[0] for line in lines] == ["round 1", "round 2", "round 3"]
    assert "moved the weights by 1.591; state momentum of norm 1.591" in lines[0]
    assert "state momentum" in said("server_optimizers", Counted)


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("own memory", "a repeated call gave another result; arrays that it keeps"),
        ("whole norm", "a block cut in two gave other numbers"),
        ("whole state", "a block cut in two gave other numbers"),
        ("in place", "read-only"),
        ("population", "division by zero; it needs the population: set needs_population = True"),
        ("never", "server optimizer 'own': no$"),
        ("nan", "the state 'momentum' after apply has nan"),
        ("large", r"'own': the result of apply has 1e\+300 at position 0: it overflows float32"),
        ("large state", r"the state 'momentum' after apply has 1e\+39 .* overflows float32"),
    ],
)
def test_what_a_server_optimizer_does_wrong_is_named(how: str, sentence: str) -> None:
    """Above all what it keeps in itself, which another collector does not have."""
    with pytest.raises(PluginError, match=sentence):
        said("server_optimizers", Momentum, how=how)


class Adapts(Momentum):
    """Halves its rate in each round; `how` may be "by chance"."""

    def next_numbers(
        self, numbers: Mapping[str, float], facts: Sequence[UpdateFacts]
    ) -> Mapping[str, float]:
        """Return the rate."""
        assert len(facts) == 5
        chance = float(np.random.default_rng().random()) if self.how == "by chance" else 0.0
        return {"rate": numbers.get("rate", 1.0) / 2 + chance}

    def apply(self, base: Block, combined: Combined, state: Mapping[str, Block]) -> Block:
        """Add a share of the update."""
        rate = combined.numbers["rate"]
        return super().apply(base, replace(combined, update=rate * combined.update), state)


def test_numbers_of_a_state_are_tried_from_round_to_round() -> None:
    """A repeated round must find the same ones."""
    lines = said("server_optimizers", Adapts).splitlines()
    assert [line.partition("; number ")[2].split(",")[0] for line in lines] == [
        "rate 0.5",
        "rate 0.25",
        "rate 0.125",
    ]
    with pytest.raises(PluginError, match="next_numbers: a repeated call gave another result"):
        said("server_optimizers", Adapts, how="by chance")


class Pull:
    """Pulls towards the base, and keeps the update on the agent."""

    server_state = ("control",)
    sections = ("control",)

    def __init__(self, how: str = "") -> None:
        self.how, self.calls = how, 0

    def terms(self, start: LocalStart) -> LocalTerms:
        """Return the own arrays as linear terms."""
        self.calls += 1
        if self.how == "by chance":
            return LocalTerms(proximal=self.calls)
        if self.how == "in place":
            start.own["dense/bias"][:] = 1
        control = start.server["control"]
        return LocalTerms(proximal=0.1, linear={n: a + control[n] for n, a in start.own.items()})

    def after(self, start: LocalStart, update: Weights, steps: int) -> LocalEnd:
        """Return the update as both."""
        del start, steps
        return LocalEnd(
            own=update, sections={} if self.how == "no section" else {"control": update}
        )


class OnlyTerms:
    def __init__(self, *, sections: bool = False) -> None:
        if sections:
            self.sections = ("control",)

    def terms(self, _start: LocalStart) -> LocalTerms:
        """Return a proximal term."""
        return LocalTerms(proximal=1.0)


def test_an_objective_is_tried_in_a_first_and_a_later_round() -> None:
    """With zeros, and with arrays that earlier rounds left."""
    assert said("objectives", Pull).splitlines() == [
        "first round: proximal 0.1; linear terms of norm 0",
        "first round: own arrays of norm 0.2669; section control of norm 0.2669",
        "later round: proximal 0.1; linear terms of norm 3.705",
        "later round: own arrays of norm 0.2669; section control of norm 0.2669",
    ]
    assert "first round: proximal 1; no linear terms" in said("objectives", OnlyTerms)


@pytest.mark.parametrize(
    ("made", "parameters", "sentence"),
    [
        (Pull, {"how": "by chance"}, "terms: a repeated call gave another result"),
        (Pull, {"how": "in place"}, "objective 'own': .*read-only"),
        (Pull, {"how": "no section"}, "after: expected sections control, got none"),
        (OnlyTerms, {"sections": True}, "there is none"),
    ],
)
def test_what_an_objective_does_wrong_is_named(
    made: object, parameters: Mapping[str, object], sentence: str
) -> None:
    """An agent would decline every task."""
    with pytest.raises(PluginError, match=sentence):
        said("objectives", made, **parameters)


class Clip:
    """Limits each number, on both sides."""

    def __init__(self, limit: float = 0.05, how: str = "") -> None:
        self.limit, self.how, self.rng = limit, how, np.random.default_rng()

    def transform_update(self, update: Weights, rng: np.random.Generator) -> Weights:
        """Limit each number."""
        if self.how == "own chance":
            rng = self.rng
        if self.how in {"own chance", "noise"}:
            return {n: a + rng.normal(size=a.shape).astype(a.dtype) for n, a in update.items()}
        if self.how == "in place":
            for array in update.values():
                np.clip(array, -self.limit, self.limit, out=array)
        if self.how == "dtype":
            return {name: array.astype(np.float64) for name, array in update.items()}
        return {name: np.clip(array, -self.limit, self.limit) for name, array in update.items()}

    def transform_combined(self, combined: Combined) -> Block:
        """Limit each number of the combined update."""
        if self.how == "own chance":
            return combined.update + self.rng.normal(size=len(combined.update))
        if self.how == "large":
            return combined.update * 1e300
        if self.how == "whole norm":
            return combined.update / np.linalg.norm(combined.update)
        return np.clip(combined.update, -self.limit, self.limit)


class AgentOnly:
    def transform_update(self, update: Weights, _rng: np.random.Generator) -> Weights:
        """Change nothing."""
        return update


class CollectorOnly:
    def transform_combined(self, combined: Combined) -> Block:
        """Change nothing."""
        return combined.update


def test_both_halves_of_an_update_transform_are_tried() -> None:
    """And either of them alone."""
    assert [line.partition(":")[0] for line in said("update_transforms", Clip).splitlines()] == [
        "agent",
        "collector",
    ]
    assert said("update_transforms", AgentOnly).startswith("agent: an update of norm 0.3")
    assert said("update_transforms", CollectorOnly).startswith("collector: a combined update")
    assert "replayed" not in said("update_transforms", Clip, how="noise")


def test_a_transform_with_chance_of_its_own_is_told() -> None:
    """It is no error: noise for privacy must not be repeatable."""
    assert said("update_transforms", Clip, how="own chance").count("cannot be replayed") == 2


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("in place", "update transform 'own': .*read-only"),
        ("dtype", "transform_update: 'dense/kernel': expected float32, got float64"),
        ("large", "the result of transform_combined has .* overflows float32"),
        ("whole norm", "transform_combined: a block cut in two"),
    ],
)
def test_what_an_update_transform_does_wrong_is_named(how: str, sentence: str) -> None:
    """Each update would be refused, or the model would depend on the length of blocks."""
    with pytest.raises(PluginError, match=sentence):
        said("update_transforms", Clip, how=how)


def test_a_strategy_is_resolved_and_its_parts_are_tried() -> None:
    """With the parameters that a job would give."""
    made = load("strategies", "fedadam")
    props = TrialInputs({"eta": "0.5"}, "fedadam")
    lines = list(try_plugin("strategies", made, props))
    assert lines[0] == "aggregator mean: weighted True"
    assert "server optimizer adam: server_learning_rate 0.5, beta_1 0.9" in "\n".join(lines)
    with pytest.raises(PluginError, match=r"strategy\.parameters\.gamma: unknown parameter"):
        list(try_plugin("strategies", made, TrialInputs({"gamma": 1}, "fedadam")))


class Shields:
    """A privacy mechanism, wrong in one way or not."""

    collector_draws_noise = True

    def __init__(self, how: str = "") -> None:
        self.how = how

    def protect(self, update: Weights, training: PrivateTraining) -> Any:  # noqa: ANN401 - wrong ones as well
        """Return the update with noise."""
        if self.how == "bare":
            return update
        dtype = np.float64 if self.how == "dtype" else np.float32
        return PrivateUpdate(
            update={
                name: (array + training.noise.normals(array.size).reshape(array.shape)).astype(
                    dtype
                )
                for name, array in update.items()
            }
        )

    def refuses_update(self, facts: UpdateFacts, _numbers: Mapping[str, float]) -> str:
        """Refuse none."""
        return "" if facts.norm is not None else "no norm"

    def next_private_numbers(
        self,
        numbers: Mapping[str, float],
        _facts: Sequence[UpdateFacts],
        _noise: RoundNoise | None,
    ) -> Mapping[str, float]:
        """Count the rounds."""
        return {"rounds": numbers.get("rounds", 0) + 1}

    def add_noise(self, combined: Combined, noise: RoundNoise | None) -> Block:
        """Add numbers of this round; wrongly the first ones to each block."""
        assert noise is not None
        start = 0 if self.how == "start" else combined.position
        return combined.update + noise.normals(start, len(combined.update))


class Half:
    def add_noise(self, combined: Combined, _noise: RoundNoise | None) -> Block:
        """Add none."""
        return combined.update


def test_a_privacy_mechanism_is_tried_at_both_sides() -> None:
    """As an agent and a collector call it."""
    agent, collector = said("update_transforms", Shields).splitlines()
    assert agent.startswith("agent: an update of norm 0.3")
    assert collector.startswith("collector: a combined update of norm 1.5")
    assert collector.endswith("; number rounds 1")


@pytest.mark.parametrize(
    ("made", "how", "sentence"),
    [
        (Shields, "bare", "protect: expected a PrivateUpdate, got a dict"),
        (Shields, "dtype", "'dense/kernel': expected float32, got float64"),
        (
            Shields,
            "start",
            "add_noise: a block cut in two gave other numbers; .* combined.position",
        ),
        (Half, "", "add_noise: a collector calls refuses_update and next_private_numbers as well"),
    ],
)
def test_what_a_privacy_mechanism_does_wrong_is_named(made: type, how: str, sentence: str) -> None:
    """An agent would refuse each update, or two collectors would draw other noise."""
    with pytest.raises(PluginError, match=sentence):
        said("update_transforms", made, **({"how": how} if how else {}))
