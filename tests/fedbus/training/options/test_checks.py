"""Checks of a job's options against what frameworks support."""

from dataclasses import replace
from typing import Any

import pytest

from fedbus.training.options import (
    FRACTIONS,
    FRAMEWORKS,
    LOWER_IS_BETTER,
    accepted_args,
    unsupported_options,
)
from fedbus.training.options.torch_options import BY_STEP, LAMBDAS, MADE_OF_PARTS
from fedbus.training.params import SchedulerParams, SchedulerPart, TrainingParams, WarmupParams

SGD = TrainingParams()
CONSTANT: dict[str, Any] = {"lr_lambda": "constant", "factor": 1.0}
CYCLE: dict[str, Any] = {"max_lr": 0.1, "epochs": 2, "steps_per_epoch": 2}
STEP = SchedulerParams("steplr", {"step_size": 1})


def said(among: str, params: TrainingParams) -> list[str]:
    """Return what these frameworks do not support."""
    return [str(option) for option in unsupported_options(among.split(), params)]


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "lbfgs", "ftrl"])
def test_an_optimizer_without_arguments_needs_a_framework_that_has_it(
    framework: str, optimizer: str
) -> None:
    """Defaults are always right."""
    found = said(framework, TrainingParams(optimizer=optimizer))
    assert bool(found) is (optimizer not in FRAMEWORKS[framework].optimizers)


def test_frameworks_that_are_not_ours_are_not_judged() -> None:
    """Their authors know what they accept."""
    lion = TrainingParams(optimizer="lion", loss="mine", metrics=("ours",))
    assert said("torch softmax", lion) == []
    assert said("", lion) == []
    assert len(said("torch", lion)) == 3


def test_one_framework_that_can_is_enough() -> None:
    """Agents of the others decline, and say why."""
    assert said("keras torch", TrainingParams(optimizer_args={"dampening": 0.1})) == []
    (only,) = said("keras", TrainingParams(optimizer_args={"dampening": 0.1}))
    assert only.startswith("optimizer_config.dampening: not an argument of sgd; sgd takes lr or")


@pytest.mark.parametrize(
    ("framework", "params", "sentence"),
    [
        (
            "torch",
            TrainingParams(loss="mse", metrics=("mae", "accuracy")),
            "eval_metrics: 'accuracy' is a fraction of correct predictions, and mse is a loss of",
        ),
        (
            "keras",
            TrainingParams(loss="huber", metrics=("auc",)),
            "eval_metrics: 'auc' is a fraction of correct predictions, and huber is a loss of",
        ),
        (
            "keras",
            TrainingParams(optimizer="lbfgs"),
            "optimizer_config.optimizer: 'lbfgs' is an optimizer of torch, not of keras",
        ),
        (
            "keras",
            TrainingParams(optimizer_args={"clipnorm": 1.0, "clipvalue": 0.5}),
            "optimizer_config.clipvalue: given together with clipnorm; give one of them",
        ),
        (
            "torch",
            TrainingParams(optimizer_args={"momentum": 0.9, "dampening": 0.1, "nesterov": True}),
            "optimizer_config.nesterov: needs a momentum above 0 and no dampening",
        ),
        (
            "torch",
            TrainingParams(optimizer="rprop", optimizer_args={"etas": (0.5, 0.9)}),
            "optimizer_config.etas: expected more than 1, got 0.9",
        ),
        (
            "torch",
            TrainingParams(scheduler=SchedulerParams("steplr")),
            "scheduler_config.step_size: missing: steplr needs it; a whole number, at least 1",
        ),
        (
            "torch",
            TrainingParams(scheduler=SchedulerParams("stepplr")),
            "scheduler_config.scheduler: 'stepplr' is unknown; did you mean 'steplr'?",
        ),
        (
            "torch",
            TrainingParams(scheduler=SchedulerParams("lambdalr", {"lr_lambda": "lambda x: x"})),
            "scheduler_config.lr_lambda: 'lambda x: x' is none of constant, exponential, step",
        ),
        (
            "torch",
            TrainingParams(scheduler=SchedulerParams("lambdalr", {"lr_lambda": "inverse"})),
            "scheduler_config.decay: missing: lambdalr needs it; a number, at least 0",
        ),
        (
            "torch",
            TrainingParams(scheduler=SchedulerParams("lambdalr", CONSTANT | {"gamma": 1.0})),
            "scheduler_config.gamma: not an argument of lambdalr; lambdalr takes lr_lambda, ",
        ),
        (
            "torch",
            TrainingParams(scheduler=SchedulerParams("onecyclelr", {"max_lr": 0.1, "epochs": 3})),
            "scheduler_config.total_steps: missing: onecyclelr needs it; or epochs and steps_per_e",
        ),
        (
            "torch",
            TrainingParams(scheduler=SchedulerParams("onecyclelr", CYCLE | {"pct_start": 0.25})),
            "scheduler_config.pct_start: 0.25 of 4 steps is one step, in which nothing can rise; ",
        ),
        (
            "torch",
            TrainingParams(scheduler=SchedulerParams("onecyclelr", CYCLE | {"last_epoch": 0})),
            "scheduler_config.last_epoch: not an argument of onecyclelr",
        ),
        (
            "torch",
            TrainingParams(scheduler=replace(STEP, parts=(STEP,))),
            "scheduler_config.schedulers: not an argument of steplr",
        ),
        (
            "torch",
            TrainingParams(scheduler=SchedulerParams("chainedscheduler")),
            "scheduler_config.schedulers: missing: chainedscheduler is made of them",
        ),
        (
            "torch",
            TrainingParams(
                scheduler=SchedulerParams(
                    "chainedscheduler", parts=(SchedulerPart("reducelronplateau"),)
                )
            ),
            "scheduler_config.schedulers[0].scheduler: 'reducelronplateau' cannot be a part of",
        ),
        (
            "torch",
            TrainingParams(
                scheduler=SchedulerParams("sequentiallr", {"milestones": (1, 2)}, (STEP, STEP))
            ),
            "scheduler_config.milestones: 2 for 2 schedulers; one between each two of them",
        ),
        (
            "torch",
            TrainingParams(scheduler=SchedulerParams("reducelronplateau", {"monitor": "recall"})),
            "scheduler_config.monitor: 'recall' is not measured; name it in eval_metrics",
        ),
        (
            "torch",
            TrainingParams(
                optimizer="adagrad",
                scheduler=SchedulerParams("cycliclr", {"base_lr": 1, "max_lr": 2}),
            ),
            "scheduler_config.cycle_momentum: adagrad has no momentum to cycle; write false",
        ),
        (
            "keras",
            TrainingParams(warmup=WarmupParams(epochs=1)),
            "warmup_config: keras has no warm-up; torch has",
        ),
        (
            "torch",
            TrainingParams(warmup=WarmupParams(epochs=1, scheduler=SchedulerParams("steplr"))),
            "warmup_config.scheduler_conf.step_size: missing",
        ),
        (
            "torch",
            TrainingParams(warmup=WarmupParams(epochs=1, scheduler=SchedulerParams("zzz"))),
            "warmup_config.scheduler: 'zzz' is unknown; there is chainedscheduler",
        ),
        (
            "tflite",
            TrainingParams(scheduler=STEP),
            "scheduler_config.scheduler: 'steplr' is a scheduler of torch, not of tflite; tflite ",
        ),
        (
            "tflite",
            TrainingParams(loss="mae"),
            "eval_func: 'mae' is a loss of keras, torch, not of tflite",
        ),
        (
            "tflite",
            TrainingParams(metrics=("recall",)),
            "eval_metrics: 'recall' is a metric of keras",
        ),
        (
            "tflite",
            TrainingParams(scheduler=SchedulerParams("zzz")),
            "scheduler_config.scheduler: 'zzz' is unknown; there is none",
        ),
    ],
)  # fmt: skip
def test_an_unsupported_option_names_the_key_and_what_there_is(
    framework: str, params: TrainingParams, sentence: str
) -> None:
    """In the job file's words."""
    (found,) = said(framework, params)
    assert found.startswith(sentence)


@pytest.mark.parametrize(
    "args", [{}, {"pct_start": 0}, {"pct_start": 0.5}, {"total_steps": 9, "pct_start": 0.25}]
)
def test_a_cycle_rises_in_two_steps_or_in_none(args: dict[str, Any]) -> None:
    """PyTorch divides by one less; `total_steps` goes before what it would be."""
    assert (
        said("torch", TrainingParams(scheduler=SchedulerParams("onecyclelr", CYCLE | args))) == []
    )


def test_a_word_of_another_framework_is_called_so() -> None:
    """The file may be right, and the trainer it names the wrong one."""
    (found,) = said(
        "torch keras",
        TrainingParams(optimizer="lbfgs", scheduler=SchedulerParams("terminateonnan")),
    )
    assert "'terminateonnan' is a scheduler of keras, not of torch; torch has chained" in found


@pytest.mark.parametrize(
    ("optimizer", "args"),
    [
        ("sgd", {"nesterov": False, "dampening": 0.0, "weight_decay": 0}),
        ("sgd", {"use_ema": False}),
    ],
)
def test_what_is_switched_off_is_left_out(optimizer: str, args: dict[str, Any]) -> None:
    """A trainer never sees an argument that its framework does not take."""
    params = TrainingParams(optimizer=optimizer, optimizer_args={**args, "momentum": 0.5})
    assert said("tflite", params) == []
    assert accepted_args("tflite", optimizer, params.optimizer_args) == {"momentum": 0.5}


@pytest.mark.parametrize("args", [{"rho": 0.0}, {"centered": False}, {"nesterov": True}])
def test_only_what_another_framework_takes_can_be_switched_off(args: dict[str, Any]) -> None:
    """A slip of the pen is no switch."""
    assert len(said("tflite", TrainingParams(optimizer_args=args))) == 1


def test_the_seeds_counts_hold() -> None:
    """Thirteen and eight optimizers, fourteen schedulers and three callbacks."""
    torch, keras = FRAMEWORKS["torch"], FRAMEWORKS["keras"]
    assert (len(torch.optimizers), len(keras.optimizers)) == (13, 8)
    assert (len(torch.schedulers), len(keras.schedulers)) == (14, 3)
    assert torch.schedulers.keys() >= MADE_OF_PARTS | BY_STEP


def test_a_metric_is_better_one_way_only() -> None:
    """And the loss is lower."""
    assert "loss" in LOWER_IS_BETTER
    assert not FRACTIONS & LOWER_IS_BETTER
    assert "cosine_similarity" not in FRACTIONS | LOWER_IS_BETTER


def test_parameters_of_lambdas_stand_beside_them() -> None:
    """Each function has its own, and the others are refused."""
    values: dict[str, Any] = {
        "factor": 0.5, "gamma": 0.5, "step_size": 2, "decay": 0.5, "start_factor": 0.5,
        "total_iters": 4, "power": 2.0,
    }  # fmt: skip
    for name, takes in LAMBDAS.items():
        needed = {arg: values[arg] for arg, domain in takes.items() if domain.required}
        assert (
            said(
                "torch",
                TrainingParams(
                    scheduler=SchedulerParams("lambdalr", {"lr_lambda": name, **needed})
                ),
            )
            == []
        )
