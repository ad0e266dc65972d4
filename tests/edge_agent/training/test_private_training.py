"""Private trainings: what leaves the agent is protected, and nothing else leaves it."""

from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedbus import demo_data
from fedbus.data import Dataset, from_arrays
from fedbus.errors import FedbusError, PluginError, PrivacyError, TrainingError
from fedbus.model.blob import decode, encode, encode_delta
from fedbus.model.layout import Layout, Weights
from fedbus.plugins import PrivateUpdate
from fedbus.plugins.agent_part_checks import checked_protection
from fedbus.training.params import Architecture, PluginChoice, TrainingParams, Update
from fedbus.wire import codec
from fedbus.wire.blobs import ModelRef, blob_ref_of
from fedbus.wire.documents import ModelSpec, TensorSpec
from fedbus.wire.features import FeatureTerms
from fedbus.wire.messages import TrainTask
from fedbus.wire.strategies import NO_FACTS, TrainingFacts
from fedbus_edge_agent.training.cancellation import TaskControl
from fedbus_edge_agent.training.local_strategy import LocalStrategy
from fedbus_edge_agent.training.local_trainer import LocalTrainer
from fedbus_edge_agent.training.outbox import Outbox
from fedbus_edge_agent.training.private_offer import PRIVATE_FAILURE
from fedbus_edge_agent.training.task_runner import Model, TrainingResult
from fedbus_edge_agent.training.task_strategy import TaskStrategy, start_of
from tests.edge_agent.harness import JOB, REPOSITORY, train
from tests.edge_agent.training.private_tasks import (
    LOCAL_TERMS,
    ClipAndCount,
    Count,
    FixedParts,
    private,
    with_dp_sgd,
)
from tests.edge_agent.training.test_local_trainer import learnable_data

ARRAYS: Weights = {
    "a": np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3),
    "b": np.linspace(5, 6, 4, dtype=np.float64),
    "own": np.ones(2, np.float32),
}
LAYOUT = Layout.of(ARRAYS, {"own": "local"})
MODEL = Model(
    ModelSpec(
        model="tiny",
        layout=tuple(
            TensorSpec(name=t.name, shape=t.shape, dtype=t.dtype, role=t.role)
            for t in LAYOUT.tensors
        ),
        architectures={"slope": {}},
    ),
    LAYOUT,
    {},
)
BASE = bytes(encode(ARRAYS, LAYOUT))
EXAMPLES = 40


class Slope:
    """A trainer that lowers every number by 1, or as its `fault` says."""

    fault = ""

    def __init__(self, _architecture: Architecture) -> None:
        pass

    def initial(self) -> Weights:
        return ARRAYS

    def train(self, weights: Weights, data: Dataset, params: TrainingParams) -> Update:
        for x, y in data.steps(params):
            if self.fault == "raise":
                raise ValueError(f"row {x[0]} of class {y[0]}")
        far = 3e38 if self.fault == "far" else 1
        new = {name: array - array.dtype.type(far) for name, array in weights.items()}
        return Update(new, data.examples, {"loss": 0.123, "accuracy": 0.9})


class Checked(Slope):
    """A trainer that says it can train with DP-SGD, unless there are too few examples."""

    def check_dp_sgd(self, params: TrainingParams, examples: int) -> None:
        assert params.dp_sgd is not None
        if examples < params.dp_sgd.least_examples:
            raise PrivacyError(f"DP-SGD needs {params.dp_sgd.least_examples} examples")


def task_of(base: bytes = BASE, **changes: Any) -> TrainTask:  # noqa: ANN401 - any field
    """Return a task without privacy terms."""
    ref = ModelRef(
        model="tiny", version=1, weights=blob_ref_of(base), spec=blob_ref_of(b""), source=REPOSITORY
    )
    return train(base=ref, **changes)


def agent(
    folder: Path, parts: LocalStrategy, trainer: type[Slope] = Slope, first: int = 1
) -> LocalTrainer:
    """Return a local trainer with these parts, whose noise counts from a number."""
    own = {"slope": trainer}
    made = LocalTrainer(
        Outbox(folder), learnable_data(EXAMPLES), "slope", own, noise=lambda: Count(first)
    )
    made.strategies.plugins = FixedParts(parts=parts)
    return made


def parts_of(mechanism: object = None) -> LocalStrategy:
    """Return the parts of a strategy that has this mechanism."""
    return LocalStrategy(mechanism=("dp-trial", mechanism or ClipAndCount()))  # type: ignore[arg-type]  # some are wrong


def arrays_of(result: TrainingResult) -> Weights:
    """Return the arrays of an update."""
    return decode(result.source.read(0, result.source.size), LAYOUT, "delta")


def test_an_update_is_protected_before_anything_is_written(tmp_path: Path) -> None:
    """The differences are -1 everywhere, clipped to the norm 1, then the noise 1, 2 … is added."""
    mechanism = ClipAndCount()
    task = private(task_of(), numbers={"clipping_norm": 0.5})
    result = agent(tmp_path, parts_of(mechanism)).train(task, MODEL, BASE, TaskControl())
    clipped = -1 / np.sqrt(10)
    update = arrays_of(result)
    assert np.allclose(update["a"].ravel(), clipped + np.arange(1, 7), rtol=1e-6)
    assert np.allclose(update["b"], clipped + np.arange(7, 11))
    assert update.keys() == {"a", "b"}
    assert mechanism.seen is not None
    assert dict(mechanism.seen.numbers) == {"clipping_norm": 0.5}
    assert mechanism.seen.cohort == 20


def test_the_mechanism_follows_all_other_transforms(tmp_path: Path) -> None:
    """What it gets is what they have made of the differences."""

    class Double:
        def transform_update(self, update: Weights, _rng: np.random.Generator, /) -> Weights:
            return {name: 2 * array for name, array in update.items()}

    class Show:
        def protect(self, update: Weights, _training: object, /) -> PrivateUpdate:
            assert all((array == -2).all() for array in update.values())
            assert not any(array.flags.writeable for array in update.values())
            return PrivateUpdate(update=update)

    parts = replace(parts_of(Show()), transforms=(("double", Double()),))
    result = agent(tmp_path, parts).train(private(task_of()), MODEL, BASE, TaskControl())
    assert (arrays_of(result)["b"] == -2).all()


def test_a_private_offer_has_one_example_and_no_metrics(tmp_path: Path) -> None:
    """Nor facts; one without privacy terms has all of them."""
    result = agent(tmp_path / "1", LocalStrategy()).train(task_of(), MODEL, BASE, TaskControl())
    assert result.stored.offer.examples == EXAMPLES
    assert result.stored.offer.metrics == {"loss": 0.123, "accuracy": 0.9}
    trainer = agent(tmp_path / "2", parts_of(ClipAndCount(bit=1.0)))
    offer = trainer.train(private(task_of()), MODEL, BASE, TaskControl()).stored.offer
    assert (offer.examples, offer.metrics, offer.facts) == (1, {}, NO_FACTS)


def test_the_norm_bit_is_sent_if_the_strategy_needs_it(tmp_path: Path) -> None:
    """A mechanism that has none then is a fault."""
    task = private(task_of(), facts=("norm_bit",))
    trainer = agent(tmp_path / "1", parts_of(ClipAndCount(bit=0.25)))
    offer = trainer.train(task, MODEL, BASE, TaskControl()).stored.offer
    assert (offer.examples, offer.metrics) == (1, {})
    assert offer.facts == TrainingFacts(norm_bit=0.25)
    with pytest.raises(
        PrivacyError, match="needs the norm bit, which the job's privacy mechanism d"
    ):
        agent(tmp_path / "2", parts_of()).train(task, MODEL, BASE, TaskControl())
    assert not list((tmp_path / "2").glob("*.update"))


@pytest.mark.parametrize("fault", ["raise", "far"])
def test_why_a_private_training_failed_stays_on_the_machine(tmp_path: Path, fault: str) -> None:
    """It may hold rows or figures of the data: the log has it, the decline has not."""

    class Faulty(Slope):
        pass

    Faulty.fault = fault
    far = {name: np.full_like(array, 3e38) for name, array in ARRAYS.items()}
    base = BASE if fault == "raise" else bytes(encode(far, LAYOUT))
    if fault == "far":  # finite weights, whose difference to the base is not finite
        Faulty.train = lambda _, weights, data, __: Update(  # type: ignore[method-assign,assignment]  # only here
            {name: -array for name, array in weights.items()}, data.examples, {}
        )
    control = TaskControl()
    trainer = agent(tmp_path, parts_of(), Faulty)
    with pytest.raises(TrainingError) as raised:
        trainer.train(private(task_of(base)), MODEL, base, control)
    assert str(raised.value) == PRIVATE_FAILURE
    assert raised.value.__suppress_context__
    ((event, reason),) = control.notes
    assert event == "private_training_failed"
    assert ("row [" in reason) == (fault == "raise")
    assert ("'a' is not finite" in reason) == (fault == "far")
    assert not list(tmp_path.glob("*.update"))


def test_why_another_training_failed_is_reported(tmp_path: Path) -> None:
    """As it always was."""

    class Faulty(Slope):
        fault = "raise"

    trainer = agent(tmp_path, LocalStrategy(), Faulty)
    with pytest.raises(ValueError, match="row "):
        trainer.train(task_of(), MODEL, BASE, TaskControl())


@pytest.mark.parametrize(
    ("made", "fault"),
    [
        (5, "protect: expected a fedbus.plugins.PrivateUpdate, got 5"),
        (PrivateUpdate(update={}), "protect: no array for a, b"),
        (PrivateUpdate(update={"a": np.zeros((2, 3)), "b": np.zeros(4)}), "expected float32, got"),
        (
            PrivateUpdate(update={"a": np.zeros((2, 3), np.float32), "b": np.full(4, np.nan)}),
            "protect: 'b': a number is NaN",
        ),
    ],
)
def test_a_mechanism_that_returns_something_else_is_a_fault(made: object, fault: str) -> None:
    """Whatever it is: nothing of it is sent."""
    update: Weights = {"a": np.zeros((2, 3), np.float32), "b": np.zeros(4)}
    with pytest.raises(PluginError, match=fault):
        checked_protection(made, update)
    for bit in ("1", np.nan, True):
        with pytest.raises(PluginError, match="norm_bit: expected a finite number"):
            checked_protection(PrivateUpdate(update=update, norm_bit=bit), update)  # type: ignore[arg-type]  # wrong


def test_what_a_mechanism_returned_wrongly_is_not_offered(tmp_path: Path) -> None:
    """The fault is in the log."""

    class Nothing:
        def protect(self, _update: Weights, _training: object, /) -> None:
            return None

    control = TaskControl()
    with pytest.raises(TrainingError, match="the private training failed"):
        agent(tmp_path, parts_of(Nothing())).train(private(task_of()), MODEL, BASE, control)
    assert "privacy mechanism 'dp-trial': protect: expected" in control.notes[0][1]
    assert not list(tmp_path.glob("*.update"))


def test_a_model_with_shared_statistics_is_declined(tmp_path: Path) -> None:
    """Before the training."""
    layout = Layout.of(ARRAYS, {"own": "statistic"})
    model = replace(MODEL, layout=layout)
    base = bytes(encode(ARRAYS, layout))
    with pytest.raises(PrivacyError, match="this model shares 'own'"):
        agent(tmp_path, parts_of()).train(private(task_of(base)), model, base, TaskControl())


def test_a_mechanism_that_is_not_last_is_declined_by_the_trainer_too(tmp_path: Path) -> None:
    """The check before the acceptance is not the only one."""
    late = TrainingParams(update_transforms=(PluginChoice(id="dp-trial"), PluginChoice(id="late")))
    task = replace(private(task_of()), params=late)
    with pytest.raises(PrivacyError, match="must be the last update transform"):
        agent(tmp_path, parts_of()).train(task, MODEL, BASE, TaskControl())


def test_an_update_in_the_outbox_is_offered_again_and_never_made_again(tmp_path: Path) -> None:
    """A restarted agent that gets the task again after the receipt releases no other noise."""
    task = private(task_of(), LOCAL_TERMS)
    first = agent(tmp_path, parts_of()).train(task, MODEL, BASE, TaskControl())
    sent = bytes(first.source.read(0, first.source.size))
    ((stored, source),) = Outbox(tmp_path).load()  # as after a kill
    assert stored == first.stored
    assert bytes(source.read(0, source.size)) == sent
    Outbox(tmp_path).remove(task.job, task.task)
    again = agent(tmp_path, parts_of(), first=100)
    with pytest.raises(PrivacyError, match="has released an update for task 1 already"):
        again.train(task, MODEL, BASE, TaskControl())
    later = replace(task, task=2)
    assert again.train(later, MODEL, BASE, TaskControl()).stored.offer.task == 2
    Outbox(tmp_path).forget_job(JOB)
    assert again.train(task, MODEL, BASE, TaskControl()).stored.offer.task == 1


def test_an_update_that_was_not_written_has_not_left(tmp_path: Path) -> None:
    """The disk was full: the task is recorded, and not trained again with other noise."""

    class Full(Outbox):
        def save(self, *_: object, **__: object) -> Any:  # noqa: ANN401 - it never returns
            raise FedbusError("no space left")

    task = private(task_of(), LOCAL_TERMS)
    trainer = agent(tmp_path, parts_of())
    trainer._outbox = Full(tmp_path)  # noqa: SLF001 - it fails to write
    with pytest.raises(FedbusError, match="no space left"):
        trainer.train(task, MODEL, BASE, TaskControl())
    with pytest.raises(PrivacyError, match="task 1 already"):
        agent(tmp_path, parts_of()).train(task, MODEL, BASE, TaskControl())


def test_a_mechanism_without_a_source_of_noise_protects_nothing() -> None:
    """Where a task has no terms, there is none."""
    start = start_of(task_of(), LAYOUT, ARRAYS, None, None)
    strategy = TaskStrategy(parts_of(), start, LAYOUT)
    with pytest.raises(PrivacyError, match="a privacy mechanism without a source of noise"):
        strategy.finish(encode_delta(ARRAYS, BASE, LAYOUT, LAYOUT), 1)


def test_without_own_noise_a_task_may_be_trained_again(tmp_path: Path) -> None:
    """The collector draws the noise once for each task, whichever update it gets."""
    task = private(task_of())
    for _ in range(2):
        result = agent(tmp_path, parts_of()).train(task, MODEL, BASE, TaskControl())
        assert result.stored.offer.task == 1
        Outbox(tmp_path).remove(task.job, task.task)


def test_dp_sgd_needs_a_trainer_that_can_do_it(tmp_path: Path) -> None:
    """A trainer that ignores the parameter would send unprotected updates."""
    task = with_dp_sgd(task_of())
    with pytest.raises(PrivacyError, match="slope cannot train with DP-SGD: it has no method"):
        agent(tmp_path, LocalStrategy()).train(task, MODEL, BASE, TaskControl())
    trainer = agent(tmp_path, LocalStrategy(), Checked)
    offer = trainer.train(task, MODEL, BASE, TaskControl()).stored.offer
    assert (offer.examples, offer.metrics, offer.facts) == (1, {}, NO_FACTS)
    assert task.params.dp_sgd is not None
    many = replace(task.params.dp_sgd, least_examples=48)
    few = replace(task, task=2, params=replace(task.params, batch_size=12, dp_sgd=many))
    with pytest.raises(PrivacyError, match="DP-SGD needs 48 examples"):
        trainer.train(few, MODEL, BASE, TaskControl())


def test_terms_of_features_do_not_allow_a_training_on_own_examples(tmp_path: Path) -> None:
    """Nothing would protect them."""
    terms = replace(LOCAL_TERMS, mechanism="mistnet", release="features")
    cut = FeatureTerms(cut_layer=1, epsilon=1.0, features=4)
    task = task_of(privacy=terms, feature_terms=cut)
    with pytest.raises(PrivacyError, match="the features that the task must train on are not here"):
        agent(tmp_path, LocalStrategy()).train(task, MODEL, BASE, TaskControl())


@pytest.mark.skipif(find_spec("opacus") is None, reason="no opacus")
def test_the_trainer_of_pytorch_trains_with_dp_sgd(tmp_path: Path) -> None:
    """With fresh noise in each task, and without a figure in the offer."""
    spec = codec.from_json(ModelSpec, demo_data.read("model.json"))
    layout = Layout.read(spec.layout)
    model = Model(spec, layout, {})
    images = np.random.default_rng(1).uniform(-1, 1, (EXAMPLES, 64)).astype(np.float32)
    data = from_arrays(images, np.arange(EXAMPLES) % 10)
    trainer = LocalTrainer(Outbox(tmp_path), data, "torch")
    base = bytes(encode(trainer.weights_trainer.initial_weights(model, "torch"), layout))
    updates = []
    for number in (1, 2):
        task = with_dp_sgd(task_of(base, task=number, trainer="torch"))
        result = trainer.train(task, model, base, TaskControl())
        offer = result.stored.offer
        assert (offer.examples, offer.metrics, offer.facts) == (1, {}, NO_FACTS)
        updates.append(decode(result.source.read(0, result.source.size), layout, "delta"))
    first, second = updates
    assert all(np.isfinite(array).all() for array in first.values())
    assert not any((first[name] == second[name]).any() for name in first)


FIXED = {"noise_multiplier": 1.0, "clipping_norm": 0.5, "num_sampled_clients": 4}


def mechanism_task(mechanism: str, parameters: Mapping[str, Any], **changes: Any) -> TrainTask:  # noqa: ANN401 - of a job
    """Return a task of a job with one of fedbus's mechanisms."""
    choice = PluginChoice(id=mechanism, parameters=parameters)
    params = TrainingParams(update_transforms=(choice,))
    terms = replace(
        LOCAL_TERMS,
        mechanism=mechanism,
        cohort=4,
        noise_multiplier=parameters["noise_multiplier"],
        noise="collector" if parameters.get("server_side_noising", True) else "agents",
    )
    return task_of(params=params, privacy=terms, **changes)


def test_a_mechanism_of_fedbus_clips_the_update(tmp_path: Path) -> None:
    """The collector draws the noise; the norm bit says whether the norm was exceeded."""
    trainer = LocalTrainer(Outbox(tmp_path), learnable_data(EXAMPLES), "slope", {"slope": Slope})
    task = mechanism_task("dp-fixed", {**FIXED, "server_side_noising": True})
    assert trainer.check_strategy(task.params, task.privacy) == 0
    update = arrays_of(trainer.train(task, MODEL, BASE, TaskControl()))
    norm = np.sqrt(sum(np.square(a, dtype=np.float64).sum() for a in update.values()))
    assert 0.4999 < norm <= 0.5
    adaptive = mechanism_task(
        "dp-adaptive",
        {"noise_multiplier": 0.1, "num_sampled_clients": 4, "init_clip_norm": 9.0},
        task=2,
        facts=("norm_bit",),
    )
    short = trainer.train(adaptive, MODEL, BASE, TaskControl()).stored.offer
    assert short.facts == TrainingFacts(norm_bit=1.0)
    lower = replace(adaptive, task=3, numbers={"clipping_norm": 0.1, "used_clipping_norm": 9.0})
    long = trainer.train(lower, MODEL, BASE, TaskControl()).stored.offer
    assert long.facts == TrainingFacts(norm_bit=0.0)


def test_a_mechanism_of_fedbus_draws_noise_at_the_agent(tmp_path: Path) -> None:
    """Of the system's generator: no two updates are alike."""
    trainer = LocalTrainer(Outbox(tmp_path), learnable_data(EXAMPLES), "slope", {"slope": Slope})
    drawn = []
    for number in (1, 2):
        task = mechanism_task("dp-fixed", {**FIXED, "server_side_noising": False}, task=number)
        drawn.append(arrays_of(trainer.train(task, MODEL, BASE, TaskControl())))
    assert not any((drawn[0][name] == drawn[1][name]).any() for name in drawn[0])


def test_an_update_whose_norm_is_not_finite_never_leaves(tmp_path: Path) -> None:
    """Its numbers are finite, and the sum of their squares is not."""
    arrays: Weights = {"a": np.full((2, 3), 1e200), "b": np.zeros(4), "own": ARRAYS["own"]}
    layout = Layout.of(arrays, {"own": "local"})
    model = replace(MODEL, layout=layout)

    class Leap(Slope):
        def train(self, weights: Weights, data: Dataset, _params: TrainingParams) -> Update:
            return Update({**weights, "a": -weights["a"]}, data.examples, {})

    base = bytes(encode(arrays, layout))
    trainer = LocalTrainer(Outbox(tmp_path), learnable_data(EXAMPLES), "slope", {"slope": Leap})
    control = TaskControl()
    task = replace(
        mechanism_task("dp-fixed", {**FIXED, "server_side_noising": False}),
        base=task_of(base).base,
    )
    with pytest.raises(TrainingError, match="the private training failed"):
        trainer.train(task, model, base, control)
    assert "the norm of the update is inf" in control.notes[0][1]
    assert not list(tmp_path.glob("*.update"))
