"""A plug-in's author tries a trainer in one process, with no broker."""

import signal
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from fedbus.data import Dataset, from_arrays
from fedbus.data.description import DatasetInfo
from fedbus.model.layout import Weights
from fedbus.simulation.run import (
    SimulationFailed,
    SimulationResult,
    SimulationStuck,
    model_of,
    simulate,
)
from fedbus.training.params import TrainingParams, Update
from fedbus.wire.documents import RoundState

SLOPE, OFFSET = 3.0, -1.0


class Line:
    """Fits a line by least squares: what an author's first trainer might be."""

    def __init__(self, architecture: Mapping[str, Any]) -> None:
        self._start = float(architecture.get("start", 0.0))

    def initial(self) -> Weights:
        """Begin flat."""
        return {"slope": np.full(1, self._start, np.float32), "offset": np.zeros(1, np.float32)}

    def train(self, weights: Weights, data: Dataset, params: TrainingParams) -> Update:
        """Take gradient steps."""
        slope, offset = weights["slope"].copy(), weights["offset"].copy()
        for x, y in data.steps(params):
            error = slope * x[:, 0] + offset - y
            slope -= params.learning_rate * (error * x[:, 0]).mean()
            offset -= params.learning_rate * error.mean()
        return Update({"slope": slope, "offset": offset}, data.examples, {"loss": 0.0})

    def evaluate(self, weights: Weights, data: Dataset, params: TrainingParams) -> dict[str, float]:
        """Mean squared error."""
        assert params.batch_size
        losses = [
            np.square(weights["slope"] * x[:, 0] + weights["offset"] - y) for x, y in data.batches()
        ]
        return {"loss": float(np.concatenate(losses).mean())}


def _points(seed: int, rows: int = 64) -> Dataset:
    x = np.random.default_rng(seed).uniform(-1, 1, (rows, 1)).astype(np.float32)
    return from_arrays(x, (SLOPE * x[:, 0] + OFFSET).astype(np.float32))


def test_a_job_that_would_wait_without_end_fails_with_the_reason() -> None:
    """No agent joins later in a simulation, so the job would wait without end."""
    with pytest.raises(
        SimulationStuck, match=r"job line-1 cannot go on: waiting for agents: 3 are"
    ):
        _run({"round": {"agents": 9, "quorum": 9}})


def _run(job: Mapping[str, Any] | None = None, **more: Any) -> SimulationResult:  # noqa: ANN401 - whatever simulate takes
    wanted = {
        "training_id": "line-1",
        "model_name": "line",
        "num_rounds": 12,
        "round": {"agents": 3},
        "config": [{"batch_size": 8, "epochs": 3, "learning_rate": 0.3}],
        "stopping_target": {"loss": 0.001},
    }
    data = {f"a{i}": _points(i) for i in range(3)}
    model = model_of("line", Line, {"start": 0.5})
    return simulate(
        {**wanted, **(job or {})}, model, data, held_out=_points(9), own={"own": Line}, **more
    )


def test_a_trainer_of_ones_own_learns_in_a_simulation() -> None:
    """The target is reached on held-out data, and the weights are the line's."""
    seen: list[Any] = []
    result = _run(watch=seen.append)
    assert result.state.phase == "finished"
    assert result.state.metrics["loss"] <= 0.001
    assert result.weights["slope"] == pytest.approx(SLOPE, abs=0.1)
    assert result.weights["offset"] == pytest.approx(OFFSET, abs=0.1)
    assert tuple(seen) == result.rounds
    assert [r.round for r in seen] == list(range(1, result.state.round + 1))


def test_an_encrypted_job_has_a_key_of_its_own_and_learns_the_same() -> None:
    """A user tries the job file without a cluster; the result is decrypted."""
    pytest.importorskip("tenseal")
    small = {"poly_modulus_degree": 2048, "coeff_mod_bit_sizes": [36, 18]}
    result = _run({"privacy-mechanisms": {"homomorphic": small}})
    assert result.state.phase == "finished"
    assert result.state.metrics["loss"] <= 0.001
    assert result.weights["slope"] == pytest.approx(SLOPE, abs=0.1)
    assert result.weights["offset"] == pytest.approx(OFFSET, abs=0.1)


def test_a_masked_job_has_agents_with_identities_and_learns_the_same() -> None:
    """A user tries the job file without a cluster; masks leave nothing in the sum."""
    result = _run({"privacy-mechanisms": {"secure-aggregation": {"bits": 16}}})
    assert result.state.phase == "finished"
    assert result.state.metrics["loss"] <= 0.001
    assert result.weights["slope"] == pytest.approx(SLOPE, abs=0.1)
    assert result.weights["offset"] == pytest.approx(OFFSET, abs=0.1)


def test_agents_without_the_package_for_masks_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The job fails with the agents' reason, which names the extra to install."""
    monkeypatch.setattr("fedbus.simulation.services.find_spec", lambda _: None)
    result = _run({"privacy-mechanisms": {"secure-aggregation": {}}})
    assert result.state.phase == "failed"
    assert "install fedbus[secure-aggregation]" in result.state.reason


def test_parameters_of_no_key_are_refused_as_in_a_cluster() -> None:
    """By the controller, which names what is wrong with the job file."""
    pytest.importorskip("tenseal")
    insecure = {"poly_modulus_degree": 2048, "coeff_mod_bit_sizes": [54, 55]}
    with pytest.raises(SimulationFailed, match="homomorphic"):
        _run({"privacy-mechanisms": {"homomorphic": insecure}})


def test_a_job_may_take_longer_than_the_wait_for_an_answer() -> None:
    """An hour of the fake clock is nothing."""
    long = {"num_rounds": 120, "stopping_target": {}, "round": {"agents": 4, "quorum": 3}}
    result = _run(long)
    assert result.state.phase == "finished"
    assert result.state.round == 120


def test_one_seed_gives_one_run() -> None:
    """Cohorts, seeds and batches are drawn from it."""
    one, same = _run(seed=5), _run(seed=5)
    assert [r.metrics for r in one.rounds] == [r.metrics for r in same.rounds]
    assert np.array_equal(one.weights["slope"], same.weights["slope"])


def test_a_job_file_with_faults_is_refused_with_all_of_them() -> None:
    """As the controller would refuse it."""
    model = model_of("line", Line, {})
    with pytest.raises(SimulationFailed, match=r"modle_name.*\nnum_rounds"):
        simulate({"training_id": "x", "modle_name": "line", "num_rounds": 0}, model, {})


class Pressed(Line):
    """A trainer during which the user presses Ctrl-C."""

    def train(self, weights: Weights, data: Dataset, params: TrainingParams) -> Update:
        signal.raise_signal(signal.SIGINT)
        return super().train(weights, data, params)


class Raising(Line):
    """On one agent it raises by itself what Ctrl-C raises."""

    def train(self, weights: Weights, data: Dataset, params: TrainingParams) -> Update:
        if data.examples < 64:
            raise KeyboardInterrupt("mine")
        return super().train(weights, data, params)


def _simulated(trainer: type[Line], **more: Any) -> SimulationResult:  # noqa: ANN401 - whatever simulate takes
    job = {
        "training_id": "line-1",
        "model_name": "line",
        "num_rounds": 2,
        "round": {"agents": 2, "quorum": 1},
    }
    data = {"a": _points(0), "b": _points(1, rows=32)}
    model = model_of("line", trainer, {})
    return simulate(job, model, data, own={"own": trainer}, **more)


def test_ctrl_c_ends_a_simulation_whatever_a_trainer_makes_of_it() -> None:
    """It was taken for the trainer's own failing, and the round went on without its agent."""
    with pytest.raises(KeyboardInterrupt):
        _simulated(Pressed)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_trainer_that_raises_what_ctrl_c_raises_is_refused() -> None:
    """No key was pressed: the agent declines with the reason, and the others continue."""
    result = _simulated(Raising)
    assert result.state.phase == "finished"
    assert "tried to exit" in result.rounds[0].refusals["agent.b"]


def test_a_simulation_is_stopped_from_another_thread() -> None:
    """As the command does, whose main thread hears the signals."""
    stop = threading.Event()
    seen: list[int] = []

    def watch(done: RoundState) -> None:
        seen.append(done.round)
        stop.set()

    with pytest.raises(KeyboardInterrupt):
        _simulated(Line, watch=watch, stop=stop)
    assert seen == [1]


def test_agents_that_name_their_classes_differently_train_nothing_together() -> None:
    """The job waits for an agreement that never comes, and says both lists."""
    x, y = np.zeros((4, 1), np.float32), np.zeros(4, np.float32)
    one, other = (
        from_arrays(x, y, info=DatasetInfo(classes=names)) for names in (("a", "b"), ("b", "a"))
    )
    job = {"training_id": "n", "model_name": "line", "num_rounds": 1, "round": {"agents": 2}}
    model = model_of("line", Line, {})
    with pytest.raises(SimulationStuck, match=r"one numbers its classes a, b; agent.two "):
        simulate(job, model, {"one": one, "two": other}, own={"own": Line})
    alike = simulate(job, model, {"one": one, "two": one}, own={"own": Line})
    assert alike.state.phase == "finished"
