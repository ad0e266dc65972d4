"""Every key that aerOS has is known, each with its type."""

import json
from typing import Any

import pytest

from fedbus.jobs import parse
from fedbus.jobs.schema import PARTS
from tests.fedbus.jobs.written import AEROS

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


NEEDED: dict[str, Any] = {"trainers": ["agent.a"], "id": "cast"}


@pytest.mark.parametrize("part", [part for part in PARTS if part])
def test_null_is_as_good_as_leaving_a_key_out(part: tuple[str, ...]) -> None:
    """Only keys that are set are passed on."""
    model = PARTS[part]
    needed = {
        name: NEEDED.get(name, "a" if key.annotation is str else 1)
        for name, key in model.model_fields.items()
        if key.is_required()
    }
    left_out = dict.fromkeys(model.names()) | needed
    assert model.model_validate(left_out) == model.model_validate(needed)
