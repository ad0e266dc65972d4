"""The job file: every key is read, and every fault is found, named and mended in one go."""

import dataclasses
import json
import pickle
from collections.abc import Callable
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError

from fedbus.catalogue import FRAMEWORKS
from fedbus.errors import WireError
from fedbus.wire import codec
from fedbus.wire.jobfile import (
    NOT_YET,
    Fault,
    JobFile,
    JobFileError,
    canonical,
    digest,
    params,
    parse,
    schema,
)
from fedbus.wire.jobfile.faults import MAX_FAULTS, clip, show
from fedbus.wire.jobfile.model import PARTS, default_quorum
from fedbus.wire.jobfile.tree import MAX_BYTES, MAX_DEPTH, MAX_VALUES
from fedbus.wire.values import (
    Reading,
    SchedulerParams,
    SchedulerPart,
    TrainingParams,
    TransformParams,
    WarmupParams,
)

SMALLEST: dict[str, Any] = {"training_id": "digits-1", "model_name": "digits", "num_rounds": 30}

AEROS: dict[str, Any] = {
    "client_type_id": "base",
    "server_address": "collector:8080",
    "eval_metrics": ["accuracy"],
    "eval_metrics_value": "0",
    "eval_func": "categorical_crossentropy",
    "num_classes": "10",
    "num_rounds": "15",
    "shape": ["32", "32", 3],
    "training_id": 10,
    "model_name": "keras_test",
    "model_version": "version_1",
    "config": [
        {
            "config_id": "min_effort",
            "batch_size": "64",
            "steps_per_epoch": "32",
            "epochs": "1",
            "learning_rate": "0.005",
        }
    ],
    "optimizer_config": {"optimizer": "SGD", "lr": "0.005", "momentum": "0", "nesterov": "False"},
    "scheduler_config": {},
    "warmup_config": {"scheduler": None, "scheduler_conf": {"gamma": None}},
    "privacy-mechanisms": {},
    "stopping_flag": "True",
    "stopping_target": {"accuracy": "0.92", "loss": 0.1},
}

FLOATS = [
    "rho", "eps", "lr_decay", "lambd", "alpha", "t0", "tolerance_grad", "tolerance_change",
    "momentum_decay", "dampening", "momentum", "weight_decay", "clipnorm", "global_clipnorm",
    "ema_momentum", "epsilon", "clipvalue", "initial_accumulator_value", "beta_1", "beta_2",
    "beta_2_decay", "epsilon_1", "epsilon_2", "learning_rate_power", "l1_regularization_strength",
    "l2_regularization_strength", "l2_shrinkage_regularization_strength", "beta", "lr",
    "learning_rate",
]  # fmt: skip
WHOLES = ["max_iter", "max_eval", "history_size", "ema_overwrite_frequency"]
FLAGS = ["foreach", "maximize", "centered", "nesterov", "amsgrad", "use_ema", "jit_compile"]
PAIRS = ["betas", "etas", "step_sizes"]
TEXTS = ["optimizer", "line_search_fn", "name"]

OPTIONS = (
    [("optimizer_config", name, "0.5", 0.5) for name in FLOATS]
    + [("optimizer_config", name, "5", 5) for name in WHOLES]
    + [("optimizer_config", name, "True", True) for name in FLAGS]
    + [("optimizer_config", name, ["0.5", 1], (0.5, 1.0)) for name in PAIRS]
    + [("optimizer_config", name, "adam", "adam") for name in TEXTS]
    + [
        ("scheduler_config", name, written, read)
        for name, written, read in [
            ("scheduler", "StepLR", "steplr"),
            ("step_size", "3", 3),
            ("gamma", "0.1", 0.1),
            ("last_epoch", "-1", -1),
            ("verbose", "True", 1),
            ("verbose", False, 0),
            ("verbose", "2", 2),
            ("milestones", ["30", 80], (30, 80)),
            ("factor", "0.5", 0.5),
            ("total_iters", "4", 4),
            ("start_factor", "0.3", 0.3),
            ("end_factor", 1, 1.0),
            ("monitor", "val_loss", "val_loss"),
            ("min_delta", "0.0003", 0.0003),
            ("patience", "5", 5),
            ("mode", "min", "min"),
            ("baseline", "0.4", 0.4),
            ("restore_best_weights", "true", True),
            ("start_from_epoch", "2", 2),
            ("cooldown", "1", 1),
            ("min_lr", "1e-6", 1e-6),
            ("T_max", "10", 10),
            ("eta_min", "0", 0.0),
            ("T_0", "5", 5),
            ("T_mult", "2", 2),
            ("base_lr", "0.001", 0.001),
            ("max_lr", "0.1", 0.1),
            ("step_size_up", "20", 20),
            ("step_size_down", "10", 10),
            ("cycle_momentum", "False", False),
            ("base_momentum", "0.8", 0.8),
            ("max_momentum", "0.9", 0.9),
            ("total_steps", "100", 100),
            ("epochs", "3", 3),
            ("steps_per_epoch", "32", 32),
            ("pct_start", "0.3", 0.3),
            ("anneal_strategy", "Linear", "linear"),
            ("div_factor", "25", 25.0),
            ("final_div_factor", "1e4", 1e4),
            ("three_phase", "true", True),
            ("threshold", "1e-4", 1e-4),
            ("threshold_mode", "abs", "abs"),
            ("eps", "1e-8", 1e-8),
            ("lr_lambda", "cosine", "cosine"),
            ("decay", "0.1", 0.1),
            ("power", "2", 2.0),
        ]
    ]
    + [
        ("warmup_config", name, written, read)
        for name, written, read in [
            ("scheduler", "lambdalr", "lambdalr"),
            ("warmup_iters", "1000", 1000),
            ("warmup_epochs", "1", 1),
            ("warmup_factor", "0.001", 0.001),
        ]
    ]
)


def job_with(**keys: object) -> bytes:
    """Write the smallest job with these keys besides; `privacy_mechanisms` gets its hyphen."""
    tree = {**SMALLEST, **keys}
    if "privacy_mechanisms" in tree:
        tree["privacy-mechanisms"] = tree.pop("privacy_mechanisms")
    return json.dumps(tree).encode()


def faults_of(data: bytes) -> tuple[Fault, ...]:
    """Return what is wrong with a job file that is refused."""
    with pytest.raises(JobFileError) as caught:
        parse(data)
    return caught.value.faults


def sentences(data: bytes) -> list[str]:
    """Return the faults as people read them."""
    return [str(fault) for fault in faults_of(data)]


# --- what is accepted ---------------------------------------------------------------------------


def test_smallest_job_gets_every_default() -> None:
    """Three keys are enough."""
    job = parse(job_with())
    assert (job.training_id, job.model_name, job.num_rounds) == ("digits-1", "digits", 30)
    assert (job.round.agents, job.round.quorum, job.round.deadline_seconds) == (2, 2, 600.0)
    assert job.round.weighted
    assert (job.plugins.aggregator, job.plugins.selector) == ("fedavg", "uniform")
    assert (job.plugins.trainer, job.plugins.loader) == (None, None)
    assert params(job) == TrainingParams()


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
    told = params(parse(job_with(plugins={"loader": "csv", "transforms": steps}))).reading
    assert told == Reading(
        loader="csv",
        transforms=(
            TransformParams(id="Own", parameters={"size": (2, 3.5), "half": "x", "on": True}),
            TransformParams(id="cast"),
        ),
    )
    assert codec.unpack(Reading, codec.pack(told)) == told
    assert params(parse(job_with(plugins={"transforms": []}))).reading is None


def test_a_job_of_aeros_is_read_with_its_numbers_as_text() -> None:
    """What an aerOS controller sends needs no editing."""
    job = parse(json.dumps(AEROS).encode())
    assert job.training_id == "10"
    assert job.num_rounds == 15
    assert (job.num_classes, job.shape) == (10, (32, 32, 3))
    assert job.server_address == "collector:8080"
    assert job.model_version == "version_1"
    assert job.config[0].config_id == "min_effort"
    assert params(job) == TrainingParams(
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
    told = params(parse(json.dumps(AEROS | changes).encode()))
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
        "round": {"keep_state": "true", "precision": "mixed"},
    }
    told = params(parse(job_with(**keys)))
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
    assert (told.keep_state, told.precision) == (True, "mixed")
    by_rule = {"warmup_epochs": 2, "warmup_iters": "1000", "warmup_factor": "0.001"}
    told = params(parse(job_with(warmup_config=by_rule)))
    assert told.warmup == WarmupParams(epochs=2, iters=1000, factor=0.001)


def test_no_accuracy_is_measured_of_a_regression_unless_asked() -> None:
    """It has no classes to be right about."""
    assert params(parse(job_with(eval_func="MSE"))).metrics == ()
    assert params(parse(job_with(eval_func="mse", eval_metrics=["mae"]))).metrics == ("mae",)


@pytest.mark.parametrize("key", AEROS)
def test_no_key_of_aeros_is_unknown(key: str) -> None:
    """Each alone, beside what a job must have."""
    tree = {"training_id": "a", "model_name": "b", "num_rounds": 1, "stopping_target": {"loss": 1}}
    parse(json.dumps({**tree, key: AEROS[key]}).encode())


@pytest.mark.parametrize(("part", "name", "written", "read"), OPTIONS)
def test_every_option_of_aeros_has_its_type(
    part: str, name: str, written: object, read: object
) -> None:
    """The models hold what later versions will use, numbers as text included."""
    found = PARTS[(part,)].model_validate({name: written})
    assert getattr(found, name) == read
    assert type(getattr(found, name)) is type(read)


def test_the_optimizer_has_the_47_keys_of_aeros() -> None:
    """The table above names each of them, and no other is accepted."""
    assert len({*FLOATS, *WHOLES, *FLAGS, *PAIRS, *TEXTS}) == 47
    assert {*FLOATS, *WHOLES, *FLAGS, *PAIRS, *TEXTS} == set(PARTS[("optimizer_config",)].names())


def test_the_table_above_has_every_argument_of_schedulers() -> None:
    """A key that nothing reads would be one that lies."""
    tried = {name for part, name, _, _ in OPTIONS if part == "scheduler_config"}
    assert tried == set(PARTS[("scheduler_config", "schedulers")].names())


@pytest.mark.parametrize("part", [part for part in PARTS if part])
def test_null_is_as_good_as_leaving_a_key_out(part: tuple[str, ...]) -> None:
    """Only keys that are set are passed on."""
    model = PARTS[part]
    needed = {name: "a" for name, key in model.model_fields.items() if key.is_required()}
    left_out = dict.fromkeys(model.names()) | needed
    assert model.model_validate(left_out) == model.model_validate(needed)


def test_a_key_required_is_missing_when_null() -> None:
    """Null is never a value."""
    assert sentences(job_with(num_rounds=None)) == ["num_rounds: missing"]


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
    assert params(parse(job_with(**keys))).learning_rate == 0.05


def test_a_metric_with_a_target_is_measured_once() -> None:
    """Whether or not it was asked for; a target that is switched off measures nothing."""
    keys = {"eval_metrics": ["accuracy", "Accuracy"], "stopping_target": {"loss": 0.1}}
    assert params(parse(job_with(**keys))).metrics == ("accuracy", "loss")
    assert params(parse(job_with(**keys, stopping_flag=False))).metrics == ("accuracy",)


# --- when a job is done -------------------------------------------------------------------------


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
    """Whatever its name."""
    job = parse(job_with(eval_func="mse", stopping_target={"mae": 0.5, "recall": 0.8}))
    assert job.reached({"mae": 0.6, "recall": 0.7}) is None
    assert job.reached({"mae": 0.5}) == "mae 0.5, at most 0.5 was asked"
    assert job.reached({"recall": 0.8}) == "recall 0.8, at least 0.8 was asked"


# --- one fault at a time ------------------------------------------------------------------------

ONCE = "give the learning rate once"
AIMLESS = "stopping_flag: true, but nothing to stop at; give stopping_target"
BASE_SAYS = "but client_type_id says base, a trainer that fedbus ships"
NO_METRIC = "it says of no metric that the value is one to stop at"
ARGUMENT = (
    "neither a number, a flag, text of at most 256 characters, nor a list of at most 256 numbers"
)
NAME = "not 1 to 64 letters, digits, '.', '_' or '-', the first a letter or digit"

LOSSES = sorted({loss for framework in FRAMEWORKS.values() for loss in framework.losses})

FEW = "adadelta, adagrad, adam, adamax, adamw, asgd, ftrl, lbfgs, nadam, radam, rmsprop, rprop"
ADAMW = "lr or learning_rate, betas, eps, weight_decay, amsgrad, foreach, maximize"

FAULTY: list[tuple[dict[str, Any], str]] = [
    ({"training_id": "../x"}, f"training_id: '../x', {NAME}"),
    ({"training_id": ""}, f"training_id: '', {NAME}"),
    ({"training_id": "a\n"}, f"training_id: 'a\\n', {NAME}"),
    ({"training_id": True}, "training_id: true, not text"),
    ({"model_name": "a/b"}, f"model_name: 'a/b', {NAME}"),
    ({"model_name": 7}, "model_name: 7, not text"),
    ({"model_version": 1.5}, "model_version: 1.5, not text"),
    ({"model_version": "v" * 257}, "model_version: longer than 256 characters"),
    ({"num_rounds": 0}, "num_rounds: 0, at least 1"),
    ({"num_rounds": 100_001}, "num_rounds: 100001, at most 100000"),
    ({"num_rounds": True}, "num_rounds: true, not a number"),
    ({"num_rounds": 1.5}, "num_rounds: 1.5, not a whole number"),
    ({"num_rounds": "many"}, "num_rounds: 'many', not a whole number"),
    ({"num_rounds": [3]}, "num_rounds: a list, not a whole number"),
    ({"num_classes": 0}, "num_classes: 0, at least 1"),
    ({"shape": [8, 0]}, "shape[1]: 0, at least 1"),
    ({"shape": [1] * 9}, "shape: more than 8 entries"),
    ({"shape": 64}, "shape: 64, not a list"),
    ({"eval_metrics": [None]}, "eval_metrics[0]: null, not text"),
    ({"config": [[]]}, "config[0]: a list, not an object"),
    ({"config": [{"batch_size": 0}]}, "config[0].batch_size: 0, at least 1"),
    ({"config": [{"epochs": "0"}]}, "config[0].epochs: '0', at least 1"),
    ({"config": [{"learning_rate": 0}]}, "config[0].learning_rate: 0, must be more than 0"),
    ({"config": [{"learning_rate": "nan"}]}, "config[0].learning_rate: 'nan', not a number"),
    ({"config": [{"learning_rate": "fast"}]}, "config[0].learning_rate: 'fast', not a number"),
    ({"config": [{"learning_rate": True}]}, "config[0].learning_rate: true, not a number"),
    ({"optimizer_config": {"lr": {}}}, "optimizer_config.lr: an object, not a number"),
    ({"optimizer_config": {"nesterov": "maybe"}},
     "optimizer_config.nesterov: 'maybe', neither true nor false"),
    ({"optimizer_config": []}, "optimizer_config: a list, not an object"),
    ({"round": {"agents": 0}}, "round.agents: 0, at least 1"),
    ({"round": {"agents": 10_001}}, "round.agents: 10001, at most 10000"),
    ({"round": {"agents": "all"}}, "round.agents: 'all', not a whole number"),
    ({"round": {"quorum": 0}}, "round.quorum: 0, at least 1"),
    ({"round": {"quorum": 3}}, "round.quorum: 3, at most round.agents, 2"),
    ({"round": {"agents": "8", "quorum": "9"}}, "round.quorum: 9, at most round.agents, 8"),
    ({"round": {"deadline_seconds": 0.5}}, "round.deadline_seconds: 0.5, at least 1"),
    ({"round": {"deadline_seconds": 86_401}}, "round.deadline_seconds: 86401, at most 86400"),
    ({"round": {"weighted": 2}}, "round.weighted: 2, neither true nor false"),
    ({"plugins": {"aggregator": "a b"}}, f"plugins.aggregator: 'a b', {NAME}"),
    ({"client_type_id": "base", "plugins": {"trainer": "own"}},
     f"plugins.trainer: 'own', {BASE_SAYS}; leave one of them out"),
    ({"config": [{}, {}]}, "config: 2 entries, of which a job can use only one; give one"),
    ({"eval_metrics_value": "0.9"},
     f"eval_metrics_value: {NO_METRIC}; stopping_target does"),
    ({"plugins": {"loader": "my loader"}}, f"plugins.loader: 'my loader', {NAME}"),
    ({"plugins": {"transforms": {"id": "cast"}}}, "plugins.transforms: an object, not a list"),
    ({"plugins": {"transforms": [{"parameters": {}}]}}, "plugins.transforms[0].id: missing"),
    ({"plugins": {"transforms": [{"id": "cast", "parametres": {}}]}},
     "plugins.transforms[0].parametres: unknown key; did you mean 'parameters'?"),
    ({"plugins": {"transforms": [{"id": "cast", "parameters": 3}]}},
     "plugins.transforms[0].parameters: 3, not an object"),
    *[
        ({"plugins": {"transforms": [{"id": "cast", "parameters": {"size": given}}]}},
         f"plugins.transforms[0].parameters.size: {shown}, {ARGUMENT}")
        for given, shown in [
            ({"a": 1}, "an object"),
            ([[1]], "a list"),
            ([True], "a list"),
            ([1] * 257, "a list"),
            ("\ud800", "'\\ud800'"),
            ("a" * 257, "'" + "a" * 64 + "…'"),
            (2**53, str(2**53)),
        ]
    ],
    ({"stopping_target": [1]}, "stopping_target: a list, not an object"),
    ({"stopping_target": {"accuracy": "high"}}, "stopping_target.accuracy: 'high', not a number"),
    ({"stopping_target": {"accuracy": True}}, "stopping_target.accuracy: true, not a number"),
    ({"stopping_target": {"accuracy": 92}},
     "stopping_target.accuracy: 92, at most 1; 92 % is 0.92"),
    ({"stopping_target": {"loss": -1}}, "stopping_target.loss: -1, at least 0"),
    ({"stopping_flag": "True"}, AIMLESS),
    ({"stopping_flag": True, "stopping_target": {}}, AIMLESS),
    (
        {"optimizer_config": {"lr": 1, "learning_rate": 2}},
        f"optimizer_config.learning_rate: 2, but optimizer_config.lr says 1; {ONCE}",
    ),
    ({"eval_func": "zzz"},
     f"eval_func: 'zzz' is unknown; there is {', '.join(LOSSES[:12])} and {len(LOSSES) - 12} more"),
    ({"eval_metrics": ["accuracy", "recal"]},
     "eval_metrics[1]: 'recal' is unknown; did you mean 'recall'?"),
    ({"stopping_target": {"recal": 0.9}},
     "stopping_target.recal: 'recal' is unknown; did you mean 'recall'?"),
    ({"optimizer_config": {"optimizer": "adamm"}},
     "optimizer_config.optimizer: 'adamm' is unknown; did you mean 'adam'?"),
    ({"optimizer_config": {"optimizer": "zzz"}},
     f"optimizer_config.optimizer: 'zzz' is unknown; there is {FEW} and 2 more"),
    ({"optimizer_config": {"rho": 0.9}, "plugins": {"trainer": "tflite"}},
     "optimizer_config.rho: not an argument of sgd; sgd takes lr or learning_rate, momentum"),
    ({"optimizer_config": {"optimizer": "adamw", "beta_1": 0.9}},
     f"optimizer_config.beta_1: not an argument of adamw; adamw takes {ADAMW}"),
    ({"optimizer_config": {"optimizer": "adamw", "betas": ["0.9", "1"]}},
     "optimizer_config.betas: 1, less than 1"),
    ({"optimizer_config": {"optimizer": "adam", "betas": [0.9]}},
     "optimizer_config.betas[1]: missing"),
    ({"optimizer_config": {"nesterov": "True"}, "plugins": {"trainer": "torch"}},
     "optimizer_config.nesterov: needs a momentum above 0 and no dampening"),
    ({"scheduler_config": {"gamma": "0.1", "verbose": "True"}},
     "scheduler_config.gamma: no scheduler takes it; name one"),
    ({"scheduler_config": {"scheduler": "steplr"}},
     "scheduler_config.step_size: missing: steplr needs it; a whole number, at least 1"),
    ({"scheduler_config": {"scheduler": "multisteplr", "milestones": ["x"]}},
     "scheduler_config.milestones[0]: 'x', not a whole number"),
    ({"scheduler_config": {"scheduler": "steplr", "step_size": 10**12}},
     "scheduler_config.step_size: 1e+12, at most 2147483647"),
    ({"warmup_config": {"warmup_factor": 0.1}}, "warmup_config.warmup_epochs: missing; 0 is none"),
    ({"warmup_config": {"warmup_epochs": 1, "warmup_iters": 9}},
     "warmup_config.warmup_factor: missing: the factor rule needs it"),
    ({"warmup_config": {"warmup_epochs": 1, "warmup_iters": 9, "warmup_factor": 0.1,
                        "scheduler_conf": {"gamma": 1}}},
     "warmup_config.scheduler_conf.gamma: not an argument of the factor rule"),
    ({"warmup_config": {"warmup_epochs": 1, "warmup_iters": 9, "scheduler": "constantlr"}},
     "warmup_config.warmup_iters: not an argument of constantlr"),
    ({"warmup_config": {"warmup_epochs": 1, "warmup_iters": 9, "warmup_factor": 0.1},
      "plugins": {"trainer": "keras"}},
     "warmup_config: keras has no warm-up; torch has"),
    ({"round": {"precision": "half"}}, "round.precision: 'half', not 'full' or 'mixed'"),
]  # fmt: skip


@pytest.mark.parametrize(("keys", "sentence"), FAULTY)
def test_a_fault_names_its_key_the_value_and_the_limit(keys: dict[str, Any], sentence: str) -> None:
    """One fault, one sentence."""
    assert sentences(job_with(**keys)) == [sentence]


UNKNOWN: list[tuple[dict[str, Any], str, str]] = [
    ({"config": [{"bach_size": 3}]}, "config[0].bach_size", "did you mean 'batch_size'?"),
    ({"bach_size": 3}, "bach_size", "did you mean 'config[0].batch_size'?"),
    ({"batch_size": 3}, "batch_size", "did you mean 'config[0].batch_size'?"),
    ({"quorum": 3}, "quorum", "did you mean 'round.quorum'?"),
    ({"round": {"num_rounds": 3}}, "round.num_rounds", "did you mean 'num_rounds'?"),
    ({"num_round": 3}, "num_round", "did you mean 'num_rounds'?"),
    ({"privacy_mechanism": {}}, "privacy_mechanism", "did you mean 'privacy-mechanisms'?"),
    ({"round": {"xyz": 3}}, "round.xyz",
     "its keys are agents, quorum, deadline_seconds, weighted, keep_state, precision"),
    ({"xyz": None}, "xyz", ""),
    ({"optimizer_config": {"momentun": 1}},
     "optimizer_config.momentun", "did you mean 'momentum'?"),
    ({"strategy": "avg", "x": {"y": 1}}, "x", ""),
]  # fmt: skip


@pytest.mark.parametrize(("keys", "key", "hint"), UNKNOWN)
def test_an_unknown_key_is_refused_with_the_one_that_was_meant(
    keys: dict[str, Any], key: str, hint: str
) -> None:
    """A slip of the pen must not train with defaults; null does not excuse it."""
    assert Fault(key=key, problem="unknown key", hint=hint) in faults_of(job_with(**keys))


LATER: list[tuple[dict[str, Any], str, str]] = [
    ({"privacy_mechanisms": {"homomorphic": {}}}, "privacy-mechanisms.homomorphic", "leave it out"),
    ({"privacy_mechanisms": {"dp-adaptive": {"num_sampled_clients": "1"}}},
     "privacy-mechanisms.dp-adaptive", "leave it out"),
]  # fmt: skip


@pytest.mark.parametrize(("keys", "key", "hint"), LATER)
def test_what_a_later_version_does_is_refused_and_not_ignored(
    keys: dict[str, Any], key: str, hint: str
) -> None:
    """A job that asks for privacy must not run without it."""
    (fault,) = faults_of(job_with(**keys))
    assert (fault.key, fault.hint) == (key, hint)
    assert fault.problem.endswith("not implemented yet")


def test_every_line_of_not_yet_is_tried_above() -> None:
    """Whoever deletes a line deletes its case."""
    tried = {key.partition("[")[0] for _, key, _ in LATER}
    general = {rule.removesuffix("[]").replace(".*", ".recall") for rule in NOT_YET}
    assert general == tried


@pytest.mark.parametrize(
    "options", [{"momentum": "0.0"}, {"nesterov": False}, {"weight_decay": 0}, {"name": "SGD"}]
)
def test_an_option_that_is_switched_off_needs_nobody_who_takes_it(options: dict[str, Any]) -> None:
    """Files that spell out every default are common."""
    keys = {"optimizer_config": options, "plugins": {"trainer": "tflite"}}
    assert params(parse(job_with(**keys))).optimizer == "sgd"


def test_the_trainer_of_somebody_else_knows_its_own_words() -> None:
    """We judge only what we know."""
    keys = {
        "plugins": {"trainer": "softmax"},
        "optimizer_config": {"optimizer": "lion", "rho": 0.9},
        "eval_func": "mine",
        "eval_metrics": ["top-9"],
        "stopping_target": {"top-9": 2},
    }
    told = params(parse(job_with(**keys)))
    assert (told.optimizer, told.optimizer_args, told.loss) == ("lion", {"rho": 0.9}, "mine")


def test_one_framework_must_take_all_that_a_job_asks() -> None:
    """Half of it here and half of it there is nobody's."""
    keys = {
        "optimizer_config": {"optimizer": "lbfgs"},
        "scheduler_config": {"scheduler": "terminateonnan"},
    }
    (fault,) = sentences(job_with(**keys))
    assert fault.startswith(
        "scheduler_config.scheduler: 'terminateonnan' is a scheduler of keras, not of torch"
    )
    both = {"optimizer": "adam", "betas": [0.9, 0.99], "beta_1": 0.9}
    (fault,) = sentences(job_with(optimizer_config=both))
    assert fault.startswith("optimizer_config.beta_1: not an argument of adam in torch; adam takes")
    assert "amsgrad, foreach, maximize in torch; lr or learning_rate, beta_1" in fault


# --- all faults at once -------------------------------------------------------------------------


def test_every_fault_is_found_in_one_go_in_the_order_of_the_file() -> None:
    """A person mends a file once."""
    data = b"""{
        "training_id": "../x", "num_rounds": 0, "bach_size": 3,
        "config": [{"batch_size": NaN, "epochs": "1.5", "learning_rate": 1}],
        "optimizer_config": {"optimizer": "adam", "lr": 2, "beta_9": 1, "rho": "1"},
        "privacy-mechanisms": {"homomorphic": {"scale": 3}},
        "round": {"agents": 2, "quorum": 3, "quorum": 4}, "round ": Infinity
    }"""
    assert [(fault.key, fault.problem) for fault in faults_of(data)] == [
        ("training_id", f"'../x', {NAME}"),
        ("num_rounds", "0, at least 1"),
        ("bach_size", "unknown key"),
        ("config[0].batch_size", "NaN, not a finite number"),
        ("config[0].epochs", "'1.5', not a whole number"),
        ("optimizer_config.beta_9", "unknown key"),
        ("optimizer_config.rho", "not an argument of adam"),
        ("privacy-mechanisms.homomorphic", "not implemented yet"),
        ("privacy-mechanisms.homomorphic.scale", "unknown key"),
        ("round.quorum", "given more than once"),
        ("round ", "Infinity, not a finite number"),
        ("round ", "unknown key"),
        ("model_name", "missing"),
    ]


def test_faults_beyond_a_hundred_are_counted() -> None:
    """An answer stays small whatever is sent."""
    faults = faults_of(job_with(**{f"k{n}": n for n in range(MAX_FAULTS + 20)}))
    assert len(faults) == MAX_FAULTS + 1
    assert str(faults[-1]) == "job file: 20 more faults"


def test_the_error_reads_as_one_fault_on_each_line() -> None:
    """And it crosses a process border whole."""
    with pytest.raises(WireError) as caught:
        parse(b'{"training_id": "a", "num_rounds": 0}')
    assert str(caught.value) == "num_rounds: 0, at least 1\nmodel_name: missing"
    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - our own bytes
    assert cast("JobFileError", again).faults == caught.value.faults  # type: ignore[attr-defined]


# --- files that are no job at all ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "not JSON at line 1, column 1: Expecting value"),
        (b'{"a": 1,\n "b" 2}', "not JSON at line 2, column 6: Expecting ':' delimiter"),
        (b'{"a": "\\', "not JSON at line 1, column 7: Unterminated string starting at"),
        (b"\xff{}", "not UTF-8 at byte 0"),
        (b" " * (MAX_BYTES + 1), f"{MAX_BYTES + 1} bytes, at most {MAX_BYTES}"),
        (b"[" * (MAX_DEPTH + 1), "nested deeper than 32 levels"),
        (b"[" * 500_000 + b"]" * 500_000, "nested deeper than 32 levels"),
        (b"[" + b"1," * MAX_VALUES + b"1]", "more than 10000 values"),
        (b"[]", "a list, not an object"),
        (b"3", "3, not an object"),
        (b"NaN", "NaN, not a finite number"),
    ],
)
def test_a_file_that_is_no_job_is_refused_as_a_whole(data: bytes, sentence: str) -> None:
    """Limits are applied before anything is built."""
    assert faults_of(data) == (Fault(key="", problem=sentence),)


def test_brackets_in_text_are_no_depth() -> None:
    """Only structure counts, also behind an escaped quote."""
    assert parse(job_with(server_address='"\\[' + "[{" * 100)).server_address is not None


def test_depth_is_counted_down_again() -> None:
    """Many shallow objects are not a deep one."""
    assert sentences(job_with(x=[[]] * 100)) == ["x: unknown key"]


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        (b"1e999", "not a finite number"),
        (b"-Infinity", "-Infinity, not a finite number"),
        (b"1" * 33, "a number of 33 digits, at most 32"),
        (b"1" * 32, f"{'1' * 32}, at most 100000"),
        (b'"' + b"9" * 5000 + b'"', f"'{'9' * 64}…', not a whole number"),
        (b'"\\ud800"', "not text that can be written as UTF-8"),
    ],
)
def test_a_number_beyond_measure_is_refused_where_it_stands(written: bytes, problem: str) -> None:
    """Neither a crash nor a second of arithmetic."""
    data = b'{"training_id": "a", "model_name": "b", "num_rounds": %b}' % written
    assert faults_of(data) == (Fault(key="num_rounds", problem=problem),)


def test_half_a_character_is_shown_spelled_out() -> None:
    """An answer must be writable as UTF-8 whatever the question was."""
    data = b'{"training_id": "\\ud800", "model_name": "b", "num_rounds": 1, "\\ud800": 1}'
    text = "\n".join(sentences(data))
    assert text.encode().decode() == text
    assert "training_id: not text that can be written as UTF-8" in text


def test_what_somebody_else_chose_is_shown_short_and_printable() -> None:
    """No control characters reach a terminal, no megabyte a log."""
    assert clip("a\x1b[31m") == "a\\x1b[31m"
    assert clip("größe") == "größe"
    assert clip("k" * 1000) == "k" * 64 + "…"
    values: list[object] = ["a", True, None, 1.5, [1], {}]
    assert [show(value) for value in values] == [
        "'a'", "true", "null", "1.5", "a list", "an object",
    ]  # fmt: skip


# --- properties ---------------------------------------------------------------------------------

# A busy machine is no fault of the job file.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)
rates = st.floats(min_value=1e-9, max_value=1000)
labels = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def as_text_or_not(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Write a number as itself or as text."""
    return st.one_of(values, values.map(str))


@st.composite
def jobs(draw: Callable[[st.SearchStrategy[Any]], Any]) -> dict[str, Any]:
    """Draw a job file that should be accepted."""
    agents = draw(st.integers(1, 10_000))
    rate = draw(rates)
    optional: dict[str, st.SearchStrategy[Any]] = {
        "model_version": labels,
        "server_address": labels,
        "eval_metrics": st.lists(st.sampled_from(["accuracy", "loss", "Loss"]), max_size=4),
        "num_classes": as_text_or_not(st.integers(1, 1000)),
        "shape": st.lists(as_text_or_not(st.integers(1, 512)), max_size=4),
        "config": st.lists(
            st.fixed_dictionaries(
                {"learning_rate": as_text_or_not(st.just(rate))},
                optional={
                    "batch_size": as_text_or_not(st.integers(1, 4096)),
                    "steps_per_epoch": st.none() | as_text_or_not(st.integers(1, 1000)),
                    "epochs": as_text_or_not(st.integers(1, 100)),
                },
            ),
            max_size=1,
        ),
        "optimizer_config": st.fixed_dictionaries(
            {"optimizer": st.sampled_from(["sgd", "SGD "])},
            optional={"lr": st.just(rate), "nesterov": st.sampled_from(["False", False, None])},
        ),
        "stopping_target": st.dictionaries(
            st.sampled_from(["accuracy", "loss"]), as_text_or_not(st.floats(0, 1))
        ),
        "stopping_flag": st.sampled_from([False, "false", None]),
        "round": st.fixed_dictionaries(
            {"agents": as_text_or_not(st.just(agents))},
            optional={
                "quorum": as_text_or_not(st.integers(1, agents)),
                "deadline_seconds": st.floats(1, 86_400),
                "weighted": st.booleans(),
            },
        ),
        "plugins": st.fixed_dictionaries({}, optional={"aggregator": names, "trainer": names}),
    }
    required = {
        "training_id": names | st.integers(0, 10**9),
        "model_name": names,
        "num_rounds": as_text_or_not(st.integers(1, 100_000)),
    }
    return cast("dict[str, Any]", draw(st.fixed_dictionaries(required, optional=optional)))


@unhurried
@given(jobs())
def test_a_job_written_again_is_the_same_job(tree: dict[str, Any]) -> None:
    """And writing it a third time gives the same bytes."""
    job = parse(json.dumps(tree).encode())
    again = parse(canonical(job))
    assert again == job
    assert canonical(again) == canonical(job)


@unhurried
@given(jobs())
def test_training_params_survive_the_wire(tree: dict[str, Any]) -> None:
    """They are plain types that any codec carries."""
    wanted = params(parse(json.dumps(tree).encode()))
    plain = json.loads(json.dumps(dataclasses.asdict(wanted)))
    assert TypeAdapter(TrainingParams).validate_python(plain) == wanted


keys_and_noise = st.sampled_from(
    [key for part in PARTS.values() for key in part.names()]
) | st.text(max_size=8)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inside: (
        st.lists(inside, max_size=4) | st.dictionaries(keys_and_noise, inside, max_size=4)
    ),
    max_leaves=12,
)


@unhurried
@given(st.dictionaries(keys_and_noise, anything, max_size=6))
def test_whatever_the_tree_only_a_job_file_error_comes_of_it(tree: dict[str, Any]) -> None:
    """Doubt stays at the door, and its answer can be sent."""
    assert "\n".join(sentences(json.dumps(tree).encode())).encode()


@unhurried
@given(
    st.binary(max_size=200)
    | st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace"))
)
def test_whatever_the_bytes_only_a_job_file_error_comes_of_them(data: bytes) -> None:
    """No bytes raise anything else."""
    with pytest.raises(JobFileError):
        parse(data)


# --- identity and description -------------------------------------------------------------------


def test_a_job_is_known_by_the_bytes_that_were_sent() -> None:
    """A space makes another file."""
    assert digest(b"{}") == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    assert digest(b"{ }") != digest(b"{}")


def test_the_schema_names_every_key_as_the_file_spells_it() -> None:
    """The documentation is generated from it."""
    found = schema()
    assert set(found["properties"]) == set(JobFile.names())
    assert found["properties"]["num_rounds"] == {
        "minimum": 1,
        "maximum": 100_000,
        "title": "Num Rounds",
        "type": "integer",
    }
    assert set(found["required"]) == set(SMALLEST)
    json.dumps(found)


def test_a_job_cannot_be_changed() -> None:
    """What was accepted is what runs."""
    job = parse(job_with())
    with pytest.raises(ValidationError):
        job.num_rounds = 1


def test_every_object_of_the_file_is_known_to_the_hints() -> None:
    """An unknown key in any of them finds its neighbours."""
    parts = {model.__name__ for model in PARTS.values()}

    def below(model: type[BaseModel]) -> set[str]:
        found = json.dumps(model.model_json_schema()["$defs"])
        return set(json.loads(found))

    assert parts == below(JobFile) | {"JobFile"}
