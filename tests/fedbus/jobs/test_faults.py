"""Every fault is found, named and mended in one go."""

import pickle
from typing import Any, cast

import pytest

from fedbus.errors import WireError
from fedbus.jobs import JobFault, JobFileError, parse
from fedbus.training.options import FRAMEWORKS
from fedbus.wire.job_faults import MAX_FAULTS
from tests.fedbus.jobs.written import faults_of, job_with, sentences

ONCE = "give the learning rate once"
NO_FRACTION = (
    "'accuracy' is a fraction of correct predictions, and mse is a loss of quantities, for which "
    "none is correct; measure an error, such as mae, or leave it out; or use a loss of classes"
)
AIMLESS = "stopping_flag: true, but nothing to stop at; give stopping_target"
BASE_SAYS = "but client_type_id says base, a trainer that fedbus ships"
NO_METRIC = "it says of no metric that the value is one to stop at"
ARGUMENT = (
    "neither a number, a flag, text of at most 256 characters, nor a list of at most 256 numbers"
)
NAME = "expected 1 to 64 letters, digits, '.', '_' or '-', the first a letter or digit"

LOSSES = sorted({loss for framework in FRAMEWORKS.values() for loss in framework.losses})

FEW = "adadelta, adagrad, adam, adamax, adamw, asgd, ftrl, lbfgs, nadam, radam, rmsprop, rprop"
ADAMW = "lr or learning_rate, betas, eps, weight_decay, amsgrad, foreach, maximize"

FAULTY: list[tuple[dict[str, Any], str]] = [
    ({"training_id": "../x"}, f"training_id: {NAME}, got '../x'"),
    ({"training_id": ""}, f"training_id: {NAME}, got ''"),
    ({"training_id": "a\n"}, f"training_id: {NAME}, got 'a\\n'"),
    ({"training_id": True}, "training_id: expected text, got true"),
    ({"model_name": "a/b"}, f"model_name: {NAME}, got 'a/b'"),
    ({"model_name": 7}, "model_name: expected text, got 7"),
    ({"model_version": 1.5}, "model_version: expected text, got 1.5"),
    ({"model_version": "v" * 257}, "model_version: longer than 256 characters"),
    ({"num_rounds": 0}, "num_rounds: expected at least 1, got 0"),
    ({"num_rounds": 100_001}, "num_rounds: expected at most 100000, got 100001"),
    ({"num_rounds": True}, "num_rounds: expected a number, got true"),
    ({"num_rounds": 1.5}, "num_rounds: expected a whole number, got 1.5"),
    ({"num_rounds": "many"}, "num_rounds: expected a whole number, got 'many'"),
    ({"num_rounds": [3]}, "num_rounds: expected a whole number, got a list"),
    ({"num_classes": 0}, "num_classes: expected at least 1, got 0"),
    ({"shape": [8, 0]}, "shape[1]: expected at least 1, got 0"),
    ({"shape": [1] * 9}, "shape: more than 8 entries"),
    ({"shape": 64}, "shape: expected a list, got 64"),
    ({"eval_metrics": [None]}, "eval_metrics[0]: expected text, got null"),
    ({"config": [[]]}, "config[0]: expected an object, got a list"),
    ({"config": [{"batch_size": 0}]}, "config[0].batch_size: expected at least 1, got 0"),
    ({"config": [{"epochs": "0"}]}, "config[0].epochs: expected at least 1, got '0'"),
    ({"config": [{"learning_rate": 0}]}, "config[0].learning_rate: expected more than 0, got 0"),
    ({"config": [{"learning_rate": "nan"}]},
     "config[0].learning_rate: expected a number, got 'nan'"),
    ({"config": [{"learning_rate": "fast"}]},
     "config[0].learning_rate: expected a number, got 'fast'"),
    ({"config": [{"learning_rate": True}]}, "config[0].learning_rate: expected a number, got true"),
    ({"optimizer_config": {"lr": {}}}, "optimizer_config.lr: expected a number, got an object"),
    ({"optimizer_config": {"nesterov": "maybe"}},
     "optimizer_config.nesterov: expected true or false, got 'maybe'"),
    ({"optimizer_config": []}, "optimizer_config: expected an object, got a list"),
    ({"round": {"agents": 0}}, "round.agents: expected at least 1, got 0"),
    ({"round": {"agents": 10_001}}, "round.agents: expected at most 10000, got 10001"),
    ({"round": {"agents": "all"}}, "round.agents: expected a whole number, got 'all'"),
    ({"round": {"quorum": 0}}, "round.quorum: expected at least 1, got 0"),
    ({"round": {"quorum": 3}}, "round.quorum: expected at most 2 (round.agents), got 3"),
    ({"round": {"agents": "8", "quorum": "9"}},
     "round.quorum: expected at most 8 (round.agents), got 9"),
    ({"round": {"deadline_seconds": 0.5}}, "round.deadline_seconds: expected at least 1, got 0.5"),
    ({"round": {"deadline_seconds": 86_401}},
     "round.deadline_seconds: expected at most 86400, got 86401"),
    ({"strategy": {"continue_state": 2}}, "strategy.continue_state: expected true or false, got 2"),
    ({"strategy": "a b"}, f"strategy.id: {NAME}, got 'a b'"),
    ({"client_type_id": "base", "plugins": {"trainer": "own"}},
     f"plugins.trainer: 'own', {BASE_SAYS}; leave one of them out"),
    ({"config": [{}, {}]}, "config: 2 entries, of which a job can use only one; give one"),
    ({"eval_metrics_value": "0.9"},
     f"eval_metrics_value: {NO_METRIC}; stopping_target does"),
    ({"plugins": {"loader": "my loader"}}, f"plugins.loader: {NAME}, got 'my loader'"),
    ({"plugins": {"transforms": {"id": "cast"}}},
     "plugins.transforms: expected a list, got an object"),
    ({"plugins": {"transforms": [{"parameters": {}}]}}, "plugins.transforms[0].id: missing"),
    ({"plugins": {"transforms": [{"id": "cast", "parametres": {}}]}},
     "plugins.transforms[0].parametres: unknown key; did you mean 'parameters'?"),
    ({"plugins": {"transforms": [{"id": "cast", "parameters": 3}]}},
     "plugins.transforms[0].parameters: expected an object, got 3"),
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
    ({"stopping_target": [1]}, "stopping_target: expected an object, got a list"),
    ({"stopping_target": {"accuracy": "high"}},
     "stopping_target.accuracy: expected a number, got 'high'"),
    ({"stopping_target": {"accuracy": True}},
     "stopping_target.accuracy: expected a number, got true"),
    ({"stopping_target": {"accuracy": 92}},
     "stopping_target.accuracy: expected at most 1, got 92; 92 % is 0.92"),
    ({"eval_func": "mse", "stopping_target": {"accuracy": 0.9}},
     f"stopping_target.accuracy: {NO_FRACTION}"),
    ({"eval_func": "mse", "eval_metrics": ["accuracy"], "stopping_target": {"accuracy": 0.9}},
     f"eval_metrics[0]: {NO_FRACTION}"),
    ({"stopping_target": {"loss": -1}}, "stopping_target.loss: expected at least 0, got -1"),
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
     "optimizer_config.betas: expected less than 1, got 1"),
    ({"optimizer_config": {"optimizer": "adam", "betas": [0.9]}},
     "optimizer_config.betas[1]: missing"),
    ({"optimizer_config": {"nesterov": "True"}, "plugins": {"trainer": "torch"}},
     "optimizer_config.nesterov: needs a momentum above 0 and no dampening"),
    ({"scheduler_config": {"gamma": "0.1", "verbose": "True"}},
     "scheduler_config.gamma: no scheduler takes it; name one"),
    ({"scheduler_config": {"scheduler": "steplr"}},
     "scheduler_config.step_size: missing: steplr needs it; a whole number, at least 1"),
    ({"scheduler_config": {"scheduler": "multisteplr", "milestones": ["x"]}},
     "scheduler_config.milestones[0]: expected a whole number, got 'x'"),
    ({"scheduler_config": {"scheduler": "steplr", "step_size": 10**12}},
     "scheduler_config.step_size: expected at most 2147483647, got 1e+12"),
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
    ({"round": {"precision": "half"}}, "round.precision: expected 'full' or 'mixed', got 'half'"),
]  # fmt: skip


@pytest.mark.parametrize(("keys", "sentence"), FAULTY)
def test_a_fault_names_its_key_the_value_and_the_limit(keys: dict[str, Any], sentence: str) -> None:
    """One fault, one sentence."""
    assert sentences(job_with(**keys)) == [sentence]


FIXED: dict[str, Any] = {"noise_multiplier": 1.1, "clipping_norm": 2, "num_sampled_clients": 20}
LAPLACE: dict[str, Any] = {"epsilon": 8, "clipping_norm": 1, "num_sampled_clients": 5}
UNKNOWN: list[tuple[dict[str, Any], str, str]] = [
    ({"config": [{"bach_size": 3}]}, "config[0].bach_size", "did you mean 'batch_size'?"),
    ({"bach_size": 3}, "bach_size", "did you mean 'config[0].batch_size'?"),
    ({"batch_size": 3}, "batch_size", "did you mean 'config[0].batch_size'?"),
    ({"quorum": 3}, "quorum", "did you mean 'round.quorum'?"),
    ({"strategy": {"quorum": 3}}, "strategy.quorum", "did you mean 'round.quorum'?"),
    ({"strategy": {"server_learning_rate": 1}}, "strategy.server_learning_rate",
     ("a parameter is written as 'strategy.parameters.server_learning_rate'; the keys here are id, "
     "parameters, aggregator, server_optimizer, objective, update_transforms, population, "
     "continue_state")),
    ({"strategy": {"server_momentum": 1}}, "strategy.server_momentum",
     "did you mean 'server_optimizer'? Or 'strategy.parameters.server_momentum'?"),
    ({"strategy": {"aggregator": {"weighted": True}}}, "strategy.aggregator.weighted",
     ("a parameter is written as 'strategy.aggregator.parameters.weighted'; the keys here are id, "
     "parameters")),
    ({"round": {"num_rounds": 3}}, "round.num_rounds", "did you mean 'num_rounds'?"),
    ({"num_round": 3}, "num_round", "did you mean 'num_rounds'?"),
    ({"privacy_mechanism": {}}, "privacy_mechanism", "did you mean 'privacy-mechanisms'?"),
    ({"privacy": {}}, "privacy", "did you mean 'privacy-mechanisms'?"),
    ({"privacy-mechanisms": {"accounting": {"epsilon": 3}, "metric-privacy": FIXED}},
     "privacy-mechanisms.accounting.epsilon", "did you mean 'target_epsilon'?"),
    ({"privacy-mechanisms": {"ldp-laplace": {**LAPLACE, "noise_multiplier": 3}}},
     "privacy-mechanisms.ldp-laplace.noise_multiplier",
     "its keys are num_sampled_clients, epsilon, clipping_norm"),
    ({"privacy-mechanisms": {"ldp-laplace": {**LAPLACE, "delta": 0.1}}},
     "privacy-mechanisms.ldp-laplace.delta",
     "did you mean 'privacy-mechanisms.accounting.delta'?"),
    ({"round": {"xyz": 3}}, "round.xyz",
     "its keys are agents, quorum, deadline_seconds, keep_optimizer_state, precision"),
    ({"xyz": None}, "xyz", ""),
    ({"strategy_config": {}}, "strategy_config", "did you mean 'strategy_conf'?"),
    ({"round": {"keep_state": True}}, "round.keep_state",
     "it is now 'round.keep_optimizer_state'"),
    ({"round": {"weighted": False}}, "round.weighted",
     "it is now 'strategy.parameters.weighted'"),
    ({"plugins": {"aggregator": "mean"}}, "plugins.aggregator", "it is now 'strategy'"),
    ({"optimizer_config": {"momentun": 1}},
     "optimizer_config.momentun", "did you mean 'momentum'?"),
    ({"strategy": "avg", "x": {"y": 1}}, "x", ""),
]  # fmt: skip


@pytest.mark.parametrize(("keys", "key", "hint"), UNKNOWN)
def test_an_unknown_key_is_refused_with_the_one_that_was_meant(
    keys: dict[str, Any], key: str, hint: str
) -> None:
    """A slip of the pen must not train with defaults; null does not excuse it."""
    assert JobFault(key=key, problem="unknown key", hint=hint) in faults_of(job_with(**keys))


def test_a_key_required_is_missing_when_null() -> None:
    """Null is never a value."""
    assert sentences(job_with(num_rounds=None)) == ["num_rounds: missing"]


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
        ("training_id", f"{NAME}, got '../x'"),
        ("num_rounds", "expected at least 1, got 0"),
        ("bach_size", "unknown key"),
        ("config[0].batch_size", "NaN, not a finite number"),
        ("config[0].epochs", "expected a whole number, got '1.5'"),
        ("optimizer_config.beta_9", "unknown key"),
        ("optimizer_config.rho", "not an argument of adam"),
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
    assert str(caught.value) == "num_rounds: expected at least 1, got 0\nmodel_name: missing"
    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - our own bytes
    assert cast("JobFileError", again).faults == caught.value.faults  # type: ignore[attr-defined]
