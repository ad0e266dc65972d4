"""Accepted jobs: training parameters for agents, and stopping targets."""

import json
from dataclasses import fields
from typing import Any

import pytest
from pydantic import ValidationError

from fedbus.jobs import parse, training_params_of
from fedbus.jobs.schema import RoundSettings, TrainingConfig, default_quorum
from fedbus.training.params import (
    DataOverrides,
    PluginChoice,
    SchedulerParams,
    SchedulerPart,
    TrainingParams,
    WarmupParams,
)
from fedbus.wire import codec
from tests.fedbus.jobs.written import AEROS, job_with


def test_smallest_job_gets_every_default() -> None:
    """Three keys are enough."""
    job = parse(job_with())
    assert (job.training_id, job.model_name, job.num_rounds) == ("digits-1", "digits", 30)
    assert (job.round.agents, job.round.quorum, job.round.deadline_seconds) == (2, 2, 600.0)
    assert (job.strategy.id, job.plugins.selector) == ("fedavg", "uniform")
    assert (job.plugins.trainer, job.plugins.loader) == (None, None)
    assert training_params_of(job) == TrainingParams()


@pytest.mark.parametrize(
    ("keys", "trainer"),
    [
        ({}, None),
        ({"client_type_id": "local1"}, None),
        ({"client_type_id": "base"}, "base"),
        ({"client_type_id": "base", "plugins": {"trainer": "torch"}}, "torch"),
        ({"client_type_id": "local1", "plugins": {"trainer": "own"}}, "own"),
    ],
)
def test_a_client_type_chooses_between_ours_and_the_agents_own(
    keys: dict[str, Any], trainer: str | None
) -> None:
    """As in aerOS: `base` goes past what an agent was given, any other word does not."""
    assert parse(job_with(**keys)).trainer == trainer


def test_a_job_says_how_data_are_read() -> None:
    """With a loader, and with transforms as aerOS writes them; without either nothing is sent."""
    steps = [
        {"id": "Own", "parameters": {"size": [2, 3.5], "half": "x", "on": True, "low": None}},
        {"id": "cast"},
    ]
    told = training_params_of(
        parse(job_with(plugins={"loader": "csv", "transforms": steps}))
    ).data_overrides
    assert told == DataOverrides(
        loader="csv",
        transforms=(
            PluginChoice(id="Own", parameters={"size": (2, 3.5), "half": "x", "on": True}),
            PluginChoice(id="cast"),
        ),
    )
    assert codec.unpack(DataOverrides, codec.pack(told)) == told
    assert training_params_of(parse(job_with(plugins={"transforms": []}))).data_overrides is None


def test_a_job_of_aeros_is_read_with_its_numbers_as_text() -> None:
    """What an aerOS controller sends needs no editing."""
    job = parse(json.dumps(AEROS).encode())
    assert job.training_id == "10"
    assert job.num_rounds == 15
    assert (job.num_classes, job.shape) == (10, (32, 32, 3))
    assert job.server_address == "collector:8080"
    assert job.model_version == "version_1"
    assert job.config[0].config_id == "min_effort"
    assert training_params_of(job) == TrainingParams(
        batch_size=64,
        steps_per_epoch=32,
        learning_rate=0.005,
        optimizer_args={"momentum": 0.0, "nesterov": False},
        metrics=("accuracy", "loss"),
    )


def test_a_job_of_aeros_that_contradicts_itself_is_read_as_it_stands() -> None:
    """The learning rate of the optimizer goes before that of config; val_loss is the loss."""
    changes = {
        "optimizer_config": {"optimizer": "Adam", "lr": "0.001", "amsgrad": "True", "name": "Adam"},
        "scheduler_config": {
            "scheduler": "ReduceLROnPlateau", "monitor": "val_loss", "factor": "0.5",
            "patience": "2", "min_delta": "0.0003", "verbose": "True", "min_lr": "0.00001",
        },
        "warmup_config": {"warmup_epochs": "0", "warmup_iters": None},
    }  # fmt: skip
    told = training_params_of(parse(json.dumps(AEROS | changes).encode()))
    assert (told.learning_rate, told.optimizer) == (0.001, "adam")
    assert told.optimizer_args == {"amsgrad": True}
    assert told.scheduler == SchedulerParams(
        name="reducelronplateau",
        args={"monitor": "loss", "factor": 0.5, "patience": 2, "min_delta": 3e-4, "min_lr": 1e-5},
    )
    assert told.warmup is None


def test_a_scheduler_made_of_others_and_a_warm_up_are_told_in_full() -> None:
    """With their arguments' types; what is not said is the framework's own affair."""
    steps = {"scheduler": "StepLR", "step_size": "2", "gamma": 0.5}
    keys = {
        "scheduler_config": {
            "scheduler": "sequentiallr",
            "milestones": ["2"],
            "schedulers": [{"scheduler": "constantlr"}, steps],
        },
        "warmup_config": {
            "scheduler": "lambdalr",
            "warmup_epochs": 1,
            "scheduler_conf": {"lr_lambda": "exponential", "gamma": "0.9"},
        },
        "round": {"keep_optimizer_state": "true", "precision": "mixed"},
    }
    told = training_params_of(parse(job_with(**keys)))
    assert told.scheduler == SchedulerParams(
        name="sequentiallr",
        args={"milestones": (2,)},
        parts=(
            SchedulerPart(name="constantlr"),
            SchedulerPart(name="steplr", args={"step_size": 2, "gamma": 0.5}),
        ),
    )
    inner = SchedulerParams(name="lambdalr", args={"lr_lambda": "exponential", "gamma": 0.9})
    assert told.warmup == WarmupParams(epochs=1, scheduler=inner)
    assert (told.keep_optimizer_state, told.precision) == (True, "mixed")
    by_rule = {"warmup_epochs": 2, "warmup_iters": "1000", "warmup_factor": "0.001"}
    told = training_params_of(parse(job_with(warmup_config=by_rule)))
    assert told.warmup == WarmupParams(epochs=2, iters=1000, factor=0.001)


def test_no_accuracy_is_measured_of_a_regression_unless_asked() -> None:
    """It has no classes to be right about."""
    assert training_params_of(parse(job_with(eval_func="MSE"))).metrics == ()
    assert training_params_of(parse(job_with(eval_func="mse", eval_metrics=["mae"]))).metrics == (
        "mae",
    )


def test_a_byte_order_mark_is_no_fault() -> None:
    """Some editors write one."""
    assert parse(b"\xef\xbb\xbf" + job_with()) == parse(job_with())


@pytest.mark.parametrize(("agents", "quorum"), [(1, 1), (2, 2), (4, 3), (8, 6), (10, 8)])
def test_quorum_is_three_quarters_of_the_agents_unless_given(agents: int, quorum: int) -> None:
    """Rounded up, never none."""
    assert parse(job_with(round={"agents": agents})).round.quorum == quorum
    assert default_quorum(agents) == quorum
    assert parse(job_with(round={"agents": agents, "quorum": 1})).round.quorum == 1


@pytest.mark.parametrize(
    "keys",
    [
        {"config": [{"learning_rate": 0.05}]},
        {"optimizer_config": {"lr": "0.05"}},
        {"optimizer_config": {"learning_rate": 0.05}},
        {"config": [{"learning_rate": "0.050"}], "optimizer_config": {"lr": 0.05}},
    ],
)
def test_learning_rate_may_stand_in_either_place(keys: dict[str, Any]) -> None:
    """Or in both, when they agree."""
    assert training_params_of(parse(job_with(**keys))).learning_rate == 0.05


def test_a_metric_with_a_target_is_measured_once() -> None:
    """Whether or not it was asked for; a target that is switched off measures nothing."""
    keys = {"eval_metrics": ["accuracy", "Accuracy"], "stopping_target": {"loss": 0.1}}
    assert training_params_of(parse(job_with(**keys))).metrics == ("accuracy", "loss")
    assert training_params_of(parse(job_with(**keys, stopping_flag=False))).metrics == ("accuracy",)


@pytest.mark.parametrize(
    ("metrics", "reached"),
    [
        ({"accuracy": 0.92, "loss": 1}, "accuracy 0.92, at least 0.92 was asked"),
        ({"accuracy": 0.91, "loss": 0.1}, "loss 0.1, at most 0.1 was asked"),
        ({"accuracy": 0.9199, "loss": 0.1001}, None),
        ({"accuracy": float("nan"), "loss": float("nan")}, None),
        ({}, None),
    ],
)
def test_one_target_reached_is_enough(metrics: dict[str, float], reached: str | None) -> None:
    """Accuracy from below, loss from above; what was not measured is not reached."""
    job = parse(job_with(stopping_target={"accuracy": 0.92, "loss": 0.1}))
    assert job.reached(metrics) == reached


def test_a_lowered_flag_keeps_the_target_from_ending_the_job() -> None:
    """As aerOS has it."""
    job = parse(job_with(stopping_target={"accuracy": 0.5}, stopping_flag="false"))
    assert job.reached({"accuracy": 1.0}) is None
    assert job.targets == {}


def test_an_error_is_reached_from_above_and_a_share_from_below() -> None:
    """Whatever its name; a share that cannot be true reaches nothing."""
    job = parse(job_with(stopping_target={"mae": 0.5, "recall": 0.8}))
    assert job.reached({"mae": 0.6, "recall": 0.7}) is None
    assert job.reached({"recall": 2.18}) is None
    assert job.reached({"mae": 0.5}) == "mae 0.5, at most 0.5 was asked"
    assert job.reached({"recall": 0.8}) == "recall 0.8, at least 0.8 was asked"


def test_a_job_cannot_be_changed() -> None:
    """What was accepted is what runs."""
    job = parse(job_with())
    with pytest.raises(ValidationError):
        job.num_rounds = 1


def test_every_key_of_config_and_round_reaches_the_trainer_under_its_name() -> None:
    """A key that is left behind would be accepted and change nothing."""
    of_the_round = {"agents", "quorum", "deadline_seconds"}
    named = {*TrainingConfig.model_fields, *RoundSettings.model_fields} - {"config_id"}
    assert named - of_the_round <= {field.name for field in fields(TrainingParams)}
    config = {"batch_size": 7, "steps_per_epoch": 5, "epochs": 3, "learning_rate": 0.25}
    round_ = {"keep_optimizer_state": True, "precision": "mixed"}
    told = training_params_of(parse(job_with(config=[config], round=round_)))
    assert {name: getattr(told, name) for name in (config | round_)} == config | round_
