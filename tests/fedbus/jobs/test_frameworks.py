"""One framework must accept all options of a job; a third-party trainer has its own options."""

from typing import Any

import pytest

from fedbus.jobs import parse, training_params_of
from tests.fedbus.jobs.written import job_with, sentences


@pytest.mark.parametrize(
    "options", [{"momentum": "0.0"}, {"nesterov": False}, {"weight_decay": 0}, {"name": "SGD"}]
)
def test_a_disabled_option_needs_no_framework_that_takes_it(options: dict[str, Any]) -> None:
    """Files that spell out every default are common."""
    keys = {"optimizer_config": options, "plugins": {"trainer": "tflite"}}
    assert training_params_of(parse(job_with(**keys))).optimizer == "sgd"


def test_a_third_party_trainer_defines_its_own_options() -> None:
    """We judge only what we know."""
    keys = {
        "plugins": {"trainer": "softmax"},
        "optimizer_config": {"optimizer": "lion", "rho": 0.9},
        "eval_func": "mine",
        "eval_metrics": ["top-9"],
        "stopping_target": {"top-9": 2},
    }
    told = training_params_of(parse(job_with(**keys)))
    assert (told.optimizer, told.optimizer_args, told.loss) == ("lion", {"rho": 0.9}, "mine")


def test_one_framework_must_take_all_that_a_job_asks() -> None:
    """No framework accepts half of the options of each."""
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
