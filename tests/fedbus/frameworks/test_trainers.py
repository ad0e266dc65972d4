"""Every framework keeps the same promises, so that its agents can train one model together."""

import json
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Any, Protocol

import numpy as np
import pytest

from fedbus import demo_data
from fedbus.client.packing import read_model
from fedbus.data import Dataset, from_arrays, npz
from fedbus.data.digits import write_digits
from fedbus.errors import LayoutError, Stopped, TrainingError
from fedbus.frameworks.outputs import OutputActivation, to_probabilities
from fedbus.model.blob import blank, decode, encode, encode_delta, flat
from fedbus.model.layout import Array, Layout, Weights
from fedbus.plugins import Evaluates, Predicts, Stateful, Trainer
from fedbus.simulation.run import simulate
from fedbus.training.params import Architecture, TrainingParams
from fedbus.wire import codec
from fedbus.wire.documents import ModelSpec
from tests.fedbus.frameworks.alike import answers, assert_alike, through_a_file

SPEC = codec.from_json(ModelSpec, demo_data.read("model.json"))
LAYOUT = Layout.read(SPEC.layout)


class FullTrainer(Trainer, Evaluates, Predicts, Protocol):
    """What our own trainers are: all of it."""

    @property
    def output_activation(self) -> OutputActivation | None: ...


def make(framework: str, architecture: Architecture | None = None) -> FullTrainer:
    """Make a trainer of the digits model, or skip where its framework is not installed."""
    if framework == "torch":
        torch = pytest.importorskip("torch")
        torch.set_num_threads(1)  # on models this small they only wait for each other
        from fedbus.frameworks.torch import TorchTrainer

        return TorchTrainer(SPEC.architectures["torch"] if architecture is None else architecture)
    if framework == "keras":
        pytest.importorskip("tensorflow")
        from fedbus.frameworks.keras import KerasTrainer

        return KerasTrainer(SPEC.architectures["keras"] if architecture is None else architecture)
    if not any(map(find_spec, ("tflite_runtime", "ai_edge_litert", "tensorflow"))):
        pytest.skip("no TFLite runtime is installed")
    from fedbus.frameworks.tflite.trainer import TfliteTrainer

    return TfliteTrainer(
        {"blob": demo_data.read("digits.tflite")} if architecture is None else architecture
    )


@pytest.fixture(params=["tflite", "torch", "keras"])
def framework(request: pytest.FixtureRequest) -> str:
    """Name each framework."""
    return str(request.param)


@pytest.fixture
def trainer(framework: str) -> FullTrainer:
    """Make a trainer of each framework."""
    return make(framework)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the digits for eight agents."""
    folder = tmp_path_factory.mktemp("digits")
    write_digits(folder, 8)
    return folder


def rows(count: int, seed: int = 0) -> Dataset:
    """Make rows of noise."""
    rng = np.random.default_rng(seed)
    return from_arrays(rng.random((count, 64), np.float32), rng.integers(0, 10, count))


def close(one: Weights, other: Weights) -> bool:
    """Return whether weights agree to 1e-5."""
    return all(np.allclose(one[name], other[name], atol=1e-5, rtol=0) for name in one)


def test_a_new_model_has_the_specs_layout(trainer: FullTrainer) -> None:
    """Names and shapes belong to the model; a dense weight is (inputs, outputs)."""
    weights = trainer.initial()
    assert Layout.of(weights).digest == LAYOUT.digest
    assert weights["layers.0.weight"].shape == (64, 32)


def test_all_frameworks_start_from_the_same_weights() -> None:
    """The job is the same, whichever framework pushed the model."""
    tflite = make("tflite").initial()
    for other in (make("torch").initial(), make("keras").initial()):
        for name in tflite:
            np.testing.assert_array_equal(tflite[name], other[name])


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_all_frameworks_take_the_same_steps(momentum: float) -> None:
    """To 1e-5: so that a mixed fleet averages one model. The last batch is a short one."""
    tflite, others = make("tflite"), (make("torch"), make("keras"))
    weights = tflite.initial()
    params = TrainingParams(batch_size=32, learning_rate=0.1, optimizer_args={"momentum": momentum})
    for count in (32, 71):
        one = tflite.train(weights, rows(count), params)
        assert not close(one.weights, weights)
        for trainer in others:
            other = trainer.train(weights, rows(count), params)
            assert close(one.weights, other.weights)
            assert one.metrics == pytest.approx(other.metrics, abs=1e-5)


def test_all_frameworks_score_and_answer_alike() -> None:
    """Where the spec says probabilities, they are, and add up to one."""
    trainers = [make("tflite"), make("torch"), make("keras")]
    weights, data = trainers[0].initial(), rows(50)
    for trainer in trainers[1:]:
        trainer.load(weights)
    first, *scores = [trainer.evaluate(weights, data, TrainingParams()) for trainer in trainers]
    assert all(score == pytest.approx(first, abs=1e-5) for score in scores)
    inputs = np.random.default_rng(5).random((7, 64))
    found = [
        to_probabilities(answers(t, inputs), "probabilities", t.output_activation) for t in trainers
    ]
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)
    np.testing.assert_allclose(found[0], found[2], atol=1e-5)
    np.testing.assert_allclose(found[0].sum(axis=1), 1, atol=1e-5)
    assert (found[0].shape, found[0].dtype.name) == ((7, 10), "float32")


def test_usual_layouts_of_labels_train_alike(trainer: FullTrainer) -> None:
    """A column, ids as fractions, one-hot rows of any dtype: the same labels, the same weights."""
    weights, (x, y) = trainer.initial(), next(rows(32).peek())
    params = TrainingParams(batch_size=16, learning_rate=0.1)
    first = trainer.train(weights, from_arrays(x, y), params)
    score = trainer.evaluate(weights, from_arrays(x, y), params)
    hot = np.eye(10)[y]
    for truths in (y[:, None], y.astype(float), hot.astype(np.uint8), hot.astype(bool), hot):
        other = trainer.train(weights, from_arrays(x, truths), params)
        assert close(first.weights, other.weights)
        assert other.metrics == pytest.approx(first.metrics, abs=1e-5)
        assert trainer.evaluate(weights, from_arrays(x, truths), params) == pytest.approx(
            score, abs=1e-5
        )
    with pytest.raises(TrainingError, match=r'y holds 1 to 10; .*"first": 1'):
        trainer.train(weights, from_arrays(x, np.arange(32) % 10 + 1), params)


def test_shares_of_classes_are_learnt_by_all(trainer: FullTrainer) -> None:
    """Smoothed labels: TFLite's step takes class numbers, drawn by the shares."""
    y = np.arange(400) % 10
    x = np.eye(64, dtype=np.float32)[y * 6]
    shares = (np.eye(10)[y] * 0.9 + 0.01).astype(np.float32)
    params = TrainingParams(batch_size=20, learning_rate=0.5, epochs=20)
    update = trainer.train(trainer.initial(), from_arrays(x, shares), params)
    score = trainer.evaluate(update.weights, from_arrays(x, shares), params)
    assert score["accuracy"] == 1
    least = -(0.91 * np.log(0.91) + 9 * 0.01 * np.log(0.01))
    assert least - 1e-3 < score["loss"] < least + 0.1


def test_each_training_starts_from_the_initial_state(trainer: FullTrainer) -> None:
    """No momentum and no chance is left over from the task before."""
    weights = trainer.initial()
    params = TrainingParams(optimizer_args={"momentum": 0.9}, epochs=2, learning_rate=0.1, seed=4)
    first = trainer.train(weights, rows(40), params)
    again = trainer.train(weights, rows(40), params)
    for name in weights:
        np.testing.assert_array_equal(first.weights[name], again.weights[name])
        np.testing.assert_array_equal(weights[name], trainer.initial()[name])
    assert first.examples == 40


@pytest.mark.parametrize(
    ("optimizer", "args"), [("sgd", {"momentum": 0.9}), ("sgd", {}), ("adam", {})], ids=str
)
def test_a_task_goes_on_with_the_state_that_another_trainer_left(
    framework: str, optimizer: str, args: dict[str, float]
) -> None:
    """Two tasks of one step each are two steps of one optimizer, through a file."""
    if (framework, optimizer) == ("tflite", "adam"):
        pytest.skip(
            "the digits' file has none; tests/fedbus/frameworks/keras/test_tflite_export.py has"
        )
    one, other = make(framework), make(framework)
    assert isinstance(one, Stateful)
    assert isinstance(other, Stateful)
    fields: dict[str, Any] = {"optimizer": optimizer, "optimizer_args": args, "batch_size": 40}
    kept, plain = TrainingParams(**fields, keep_optimizer_state=True), TrainingParams(**fields)
    at_once = one.train(one.initial(), rows(40), replace(plain, epochs=2)).weights
    half = one.train(one.initial(), rows(40), kept).weights
    state = through_a_file(one.optimizer_state())
    afresh = other.train(half, rows(40), plain).weights
    other.load_optimizer_state(state)
    whole = other.train(half, rows(40), kept).weights
    assert_alike(whole, at_once)
    assert close(afresh, at_once) is (not args and optimizer == "sgd")
    with pytest.raises(
        TrainingError, match="nothing has been trained to its end with keep_optimizer_state"
    ):
        make(framework).optimizer_state()  # type: ignore[attr-defined]  # seen above
    other.load_optimizer_state({**state, "made_by": np.array("unknown")})
    with pytest.raises(TrainingError, match="was kept by unknown; this task needs that of "):
        other.train(half, rows(40), kept)
    other.load_optimizer_state(state)
    with pytest.raises(TrainingError, match="'lion'"):
        other.train(half, rows(40), replace(kept, optimizer="lion"))
    assert_alike(other.train(half, rows(40), plain).weights, afresh)  # of which nothing is left


@pytest.mark.parametrize("framework", ["torch", "keras"])
def test_what_layers_draw_by_chance_comes_from_the_tasks_seed(
    framework: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which units dropout leaves out, say: the same task gives the same update, another another."""

    def step(seed: int) -> Weights:
        params = TrainingParams(batch_size=40, learning_rate=0.1, seed=seed)
        return trainer.train(weights, rows(40), params).weights

    trainer = make(framework, dropping(framework, monkeypatch))
    weights = trainer.initial()
    first, again, other = step(2**62 + 1), step(2**62 + 1), step(5)
    trainer = make(framework, dropping(framework, monkeypatch))
    elsewhere = step(5)
    for name in weights:
        np.testing.assert_array_equal(first[name], again[name])
        np.testing.assert_array_equal(other[name], elsewhere[name])
    assert not close(first, other)


def dropping(framework: str, monkeypatch: pytest.MonkeyPatch) -> Architecture:
    """Name a model of the digits that drops half of its inputs."""
    if framework == "keras":
        layers = [["Dropout", {"rate": 0.5}], ["Dense", {"units": 10}]]
        return {"name": "sequential", "config": {"input": [64], "layers": layers}}
    torch = pytest.importorskip("torch")
    from fedbus.frameworks.torch import architectures

    def net(_: object) -> object:
        return torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.Linear(64, 10))

    monkeypatch.setitem(architectures.ARCHITECTURES, "dropping", net)
    return {"name": "dropping"}


def test_arrays_that_cross_the_border_are_copies(trainer: FullTrainer) -> None:
    """What was handed out does not change under its owner."""
    weights = trainer.initial()
    update = trainer.train(weights, rows(32), TrainingParams())
    kept = {name: array.copy() for name, array in update.weights.items()}
    trainer.train(update.weights, rows(32, seed=1), TrainingParams(learning_rate=1.0))
    for name, array in kept.items():
        np.testing.assert_array_equal(update.weights[name], array)


def test_weights_are_taken_from_a_read_only_blob(trainer: FullTrainer) -> None:
    """That is what an agent has: views into bytes."""
    blob = bytes(encode(trainer.initial(), LAYOUT))
    update = trainer.train(decode(blob, LAYOUT), rows(32), TrainingParams())
    assert encode(trainer.initial(), LAYOUT) == blob
    LAYOUT.check(update.weights)


def test_a_loaded_version_answers_until_the_next_is_loaded(trainer: FullTrainer) -> None:
    """Loading costs no conversion."""
    zero = {name: np.zeros_like(array) for name, array in trainer.initial().items()}
    inputs = np.ones((1, 64), np.float32)
    trainer.load(zero)
    likely = to_probabilities(answers(trainer, inputs), "probabilities", trainer.output_activation)
    np.testing.assert_allclose(likely, np.full((1, 10), 0.1), atol=1e-6)
    zero["layers.1.bias"][3] = 50
    trainer.load(zero)
    assert answers(trainer, inputs).argmax() == 3


def test_training_stops_at_the_next_batch(trainer: FullTrainer) -> None:
    """Stopped passes through, and the trainer can be used again."""
    asked = iter([False, False, True])
    with pytest.raises(Stopped):
        trainer.train(trainer.initial(), rows(99).with_stop(lambda: next(asked)), TrainingParams())
    trainer.train(trainer.initial(), rows(9), TrainingParams())


def test_a_single_row_is_a_batch_too(trainer: FullTrainer) -> None:
    """The smallest short batch."""
    assert trainer.train(trainer.initial(), rows(33), TrainingParams(batch_size=32)).examples == 33


@pytest.mark.parametrize(
    ("x", "y", "sentence"),
    [
        (np.ones((4, 63), np.float32), np.zeros(4, int), r"\(4, 63\)"),
        (np.ones((4, 8, 8), np.float32), np.zeros(4, int), r"\(4, 8, 8\)"),
        (np.ones((4, 64), np.float32), np.full(4, 10), "y holds 10 to 10; a class is 0 to 9"),
        (
            np.ones((4, 64), np.float32),
            np.full(4, 0.5, np.float32),
            "y holds 0.5, which is no class",
        ),
    ],
    ids=["width", "dimensions", "class", "no classes"],
)
def test_data_that_do_not_fit_the_model_are_refused(
    trainer: FullTrainer, x: Array, y: Array, sentence: str
) -> None:
    """In one sentence, with the shapes."""
    for call in (trainer.train, trainer.evaluate):
        with pytest.raises(TrainingError, match=sentence):
            call(trainer.initial(), from_arrays(x, y), TrainingParams())


@pytest.mark.parametrize("shape", [(64,), (0, 64), (2, 65), ()])
def test_inputs_that_do_not_fit_the_model_are_refused(
    trainer: FullTrainer, shape: tuple[int, ...]
) -> None:
    """A wrong request is no reason to fall over."""
    with pytest.raises(TrainingError):
        trainer.predict(np.ones(shape, np.float32))
    trainer.predict(np.ones((2, 64), np.float32))


def test_weights_that_do_not_fit_the_model_are_refused(trainer: FullTrainer) -> None:
    """By the tensor's name."""
    weights = {**trainer.initial(), "layers.1.bias": np.zeros(11, np.float32)}
    with pytest.raises(LayoutError, match=r"layers\.1\.bias.*\(11,\)"):
        trainer.train(weights, rows(4), TrainingParams())


@pytest.mark.parametrize("change", [{"optimizer": "lion"}, {"loss": "ctc"}])
def test_what_the_framework_cannot_do_is_refused(
    trainer: FullTrainer, change: dict[str, str]
) -> None:
    """Rather than trained with something else."""
    with pytest.raises(TrainingError, match=f"'{next(iter(change.values()))}'"):
        trainer.train(trainer.initial(), rows(4), TrainingParams(**change))  # type: ignore[arg-type]


def test_training_that_diverges_makes_no_update(trainer: FullTrainer) -> None:
    """NaN never leaves the agent."""
    params = TrainingParams(learning_rate=1e30, epochs=3)
    with (
        np.errstate(all="ignore"),
        pytest.raises(TrainingError, match="a lower learning_rate may help"),
    ):
        trainer.train(trainer.initial(), rows(64), params)


def average(base: bytearray, updates: list[tuple[int, bytearray]]) -> bytearray:
    """Do what the collector does."""
    rows_seen = sum(examples for examples, _ in updates)
    new = blank(LAYOUT, "plain")
    flat(new, LAYOUT)[:] = flat(base, LAYOUT)
    for examples, update in updates:
        flat(new, LAYOUT)[:] += np.float32(examples / rows_seen) * flat(update, LAYOUT)
    return new


def rounds_to_90_percent(
    fleet: list[FullTrainer], shards: Path, pick: Callable[[int], list[int]]
) -> int:
    """Run the demo's job without a bus."""
    data = [npz(str(shards / f"agent.{n}.npz")) for n in range(1, 9)]
    held_out = npz(str(shards / "held_out.npz"))
    config = json.loads(demo_data.read("job.json"))["config"][0]
    base = encode(fleet[0].initial(), LAYOUT)
    for number in range(1, 31):
        updates = []
        for agent in pick(number):
            params = TrainingParams(
                batch_size=config["batch_size"],
                epochs=config["epochs"],
                learning_rate=config["learning_rate"],
                seed=100 * number + agent,
            )
            update = fleet[agent].train(decode(base, LAYOUT), data[agent], params)
            updates.append((update.examples, encode_delta(update.weights, base, LAYOUT)))
        base = average(base, updates)
        scores = fleet[0].evaluate(decode(base, LAYOUT), held_out, TrainingParams())
        if scores["accuracy"] >= 0.9:
            return number
    return 31


@pytest.mark.parametrize("kinds", [["tflite"], ["torch"], ["tflite", "torch"]], ids="+".join)
def test_the_demos_job_reaches_90_percent_within_15_rounds(kinds: list[str], shards: Path) -> None:
    """Eight agents that see few digits each, of one framework or mixed; or six of them in turn."""
    fleet = [make(kinds[n % len(kinds)]) for n in range(8)]
    assert rounds_to_90_percent(fleet, shards, lambda _: list(range(8))) <= 10
    assert rounds_to_90_percent(fleet, shards, lambda n: Random(n).sample(range(8), 6)) <= 15


def test_one_job_over_keras_tflite_and_torch_agents_averages_all_of_them() -> None:
    """In a whole ring: what the round makes is the mean of what each of them would make."""
    kinds = ["keras", "tflite", "torch"]
    fleet = {f"{n}": make(kind) for n, kind in enumerate(kinds, 1)}
    waiting = list(fleet.values())
    data = {name: rows(40, seed=int(name)) for name in fleet}
    job = {**json.loads(demo_data.read("job.json")), "num_rounds": 1, "stopping_target": None}
    job["round"] = {"agents": 3, "quorum": 3, "deadline_seconds": 600}
    job["config"] = [{"config_id": "all", "batch_size": 40, "epochs": 1, "learning_rate": 0.2}]
    job["plugins"] = {"trainer": "tflite"}
    folder = Path(demo_data.__file__).parent
    made = simulate(
        {key: value for key, value in job.items() if value is not None},
        read_model(folder / "model.json"),
        data,
        own={"tflite": lambda _: waiting.pop()},
    )
    assert waiting == []
    weights = fleet["1"].initial()
    params = TrainingParams(batch_size=40, learning_rate=0.2)
    updates = [fleet["2"].train(weights, d, params).weights for d in data.values()]
    for name, weight in made.weights.items():
        mean = sum(update[name].astype(np.float64) for update in updates) / 3
        np.testing.assert_allclose(weight, mean, atol=1e-5)
