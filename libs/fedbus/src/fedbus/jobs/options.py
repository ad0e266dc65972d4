"""The option sets of aerOS: optimizer, scheduler, warm-up, privacy. Every key is optional.

Types only; which optimizer or scheduler takes which key, and in what bounds,
`fedbus.training.options`
says. Keys that aerOS's set has forgotten are spelled as PyTorch spells them.
"""

from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)
from pydantic_core import PydanticCustomError

from fedbus.limits import MAX_SCHEDULERS, MAX_WORD_CHARACTERS
from fedbus.scalars import IDENT

MAX_LISTED: Final = 256
_ARGUMENT: Final = (
    f"neither a number, a flag, text of at most {MAX_WORD_CHARACTERS} characters, nor a list of "
    f"at most {MAX_LISTED} numbers"
)


def _no_flag(value: object) -> object:
    """Python counts true as 1; a job file does not."""
    if isinstance(value, bool):
        raise PydanticCustomError("flag_for_number", "not a number")
    return value


def _flag_as_number(value: object) -> object:
    return {"true": 1, "false": 0}.get(str(value).lower(), value)


def _argument(value: object) -> object:
    """Refuse a value that no `fedbus.training.params.Argument` can hold."""
    if isinstance(value, list):
        good = len(value) <= MAX_LISTED and all(map(_is_number, value))
    else:
        good = isinstance(value, bool) or _is_number(value) or _is_text(value)
    if not good:
        raise PydanticCustomError("argument", _ARGUMENT)
    return tuple(value) if isinstance(value, list) else value


def _is_number(value: object) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, float) or (isinstance(value, int) and abs(value) < 2**53)


def _is_text(value: object) -> bool:
    if not isinstance(value, str) or len(value) > MAX_WORD_CHARACTERS:
        return False
    return not any("\ud800" <= letter <= "\udfff" for letter in value)  # halves cannot be sent


def _no_null(value: object) -> object:
    if not isinstance(value, dict):
        return value
    return {name: each for name, each in value.items() if each is not None}


NOT_A_FLAG = BeforeValidator(_no_flag)

Whole = Annotated[int, NOT_A_FLAG]
Real = Annotated[float, NOT_A_FLAG]
Pair = tuple[Real, Real]
Label = Annotated[str, Field(max_length=MAX_WORD_CHARACTERS)]
Parameters = Annotated[
    dict[Annotated[str, Field(pattern=f"^{IDENT}$")], Annotated[Any, AfterValidator(_argument)]],
    Field(max_length=64),
    BeforeValidator(_no_null),
]
Word = Annotated[
    str, StringConstraints(strip_whitespace=True, to_lower=True, max_length=MAX_WORD_CHARACTERS)
]


class JobFileObject(BaseModel):
    """An object of the job file: frozen, no key but its own; null is as good as leaving it out."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _null_is_left_out(cls, written: Any) -> Any:  # noqa: ANN401 - whatever the file has there
        if not isinstance(written, dict):
            return written
        known = cls.names()
        return {name: v for name, v in written.items() if v is not None or name not in known}

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the keys as the file spells them."""
        return tuple(field.alias or name for name, field in cls.model_fields.items())


class OptimizerConfig(JobFileObject):
    """The 47 keys of aerOS's optimizers; only arguments that are set are passed on."""

    optimizer: Word = "sgd"
    lr: Annotated[Real, Field(gt=0, le=1000)] | None = None
    rho: Real | None = None
    eps: Real | None = None
    foreach: bool | None = None
    maximize: bool | None = None
    lr_decay: Real | None = None
    betas: Pair | None = None
    etas: Pair | None = None
    step_sizes: Pair | None = None
    lambd: Real | None = None
    alpha: Real | None = None
    t0: Real | None = None
    max_iter: Whole | None = None
    max_eval: Whole | None = None
    tolerance_grad: Real | None = None
    tolerance_change: Real | None = None
    history_size: Whole | None = None
    line_search_fn: Label | None = None
    momentum_decay: Real | None = None
    dampening: Real | None = None
    centered: bool | None = None
    nesterov: bool | None = None
    momentum: Real | None = None
    weight_decay: Real | None = None
    amsgrad: bool | None = None
    learning_rate: Annotated[Real, Field(gt=0, le=1000)] | None = None
    name: Label | None = Field(default=None, description="A label; it changes nothing.")
    clipnorm: Real | None = None
    global_clipnorm: Real | None = None
    use_ema: bool | None = None
    ema_momentum: Real | None = None
    ema_overwrite_frequency: Whole | None = None
    jit_compile: bool | None = None
    epsilon: Real | None = None
    clipvalue: Real | None = None
    initial_accumulator_value: Real | None = None
    beta_1: Real | None = None
    beta_2: Real | None = None
    beta_2_decay: Real | None = None
    epsilon_1: Real | None = None
    epsilon_2: Real | None = None
    learning_rate_power: Real | None = None
    l1_regularization_strength: Real | None = None
    l2_regularization_strength: Real | None = None
    l2_shrinkage_regularization_strength: Real | None = None
    beta: Real | None = None


class SingleSchedulerConfig(JobFileObject):
    """A scheduler or callback, and its arguments."""

    scheduler: Word | None = None
    step_size: Whole | None = None
    gamma: Real | None = None
    last_epoch: Whole | None = None
    verbose: Annotated[int, Field(ge=0, le=2), BeforeValidator(_flag_as_number)] | None = Field(
        default=None, description="Changes nothing: agents print nothing."
    )
    milestones: Annotated[tuple[Whole, ...], Field(max_length=256)] | None = None
    factor: Real | None = None
    total_iters: Whole | None = None
    start_factor: Real | None = None
    end_factor: Real | None = None
    monitor: Annotated[Word, Field(max_length=64)] | None = Field(
        default=None,
        description="A metric measured in training; `val_loss` is read as `loss`, and so on.",
    )
    min_delta: Real | None = None
    patience: Whole | None = None
    mode: Word | None = None
    baseline: Real | None = None
    restore_best_weights: bool | None = None
    start_from_epoch: Whole | None = None
    cooldown: Whole | None = None
    min_lr: Real | None = None
    T_max: Whole | None = None
    eta_min: Real | None = None
    T_0: Whole | None = None
    T_mult: Whole | None = None
    base_lr: Real | None = None
    max_lr: Real | None = None
    step_size_up: Whole | None = None
    step_size_down: Whole | None = None
    cycle_momentum: bool | None = None
    base_momentum: Real | None = None
    max_momentum: Real | None = None
    total_steps: Whole | None = None
    epochs: Whole | None = None
    steps_per_epoch: Whole | None = None
    pct_start: Real | None = None
    anneal_strategy: Word | None = None
    div_factor: Real | None = None
    final_div_factor: Real | None = None
    three_phase: bool | None = None
    threshold: Real | None = None
    threshold_mode: Word | None = None
    eps: Real | None = None
    lr_lambda: Word | None = Field(
        default=None, description="A function by name; its parameters stand beside it."
    )
    decay: Real | None = None
    power: Real | None = None


class SchedulerConfig(SingleSchedulerConfig):
    """The arguments of schedulers and callbacks: aerOS's 20, and what PyTorch's need besides."""

    schedulers: (
        Annotated[tuple[SingleSchedulerConfig, ...], Field(max_length=MAX_SCHEDULERS)] | None
    ) = Field(default=None, description="What chainedscheduler and sequentiallr are made of.")


class WarmupConfig(JobFileObject):
    """What stands in for the scheduler in the first `warmup_epochs` of a job.

    With `lambdalr` and no `lr_lambda`, or with no scheduler at all, the learning rate is multiplied
    after x batches by factor * (1 - x / iters) + x / iters.
    """

    scheduler: Word | None = None
    warmup_iters: Annotated[Whole, Field(ge=1, le=100_000_000)] | None = None
    warmup_epochs: Annotated[Whole, Field(ge=0, le=100_000)] | None = Field(
        default=None, description="0 is none."
    )
    warmup_factor: Annotated[Real, Field(gt=0, le=1000)] | None = None
    scheduler_conf: SchedulerConfig = SchedulerConfig()


class DpAdaptive(JobFileObject):
    """Differential privacy with adaptive clipping."""

    num_sampled_clients: Whole | None = None
    init_clip_norm: Real | None = None
    noise_multiplier: Real | None = None
    server_side_noising: bool | None = None
    clip_count_stddev: Real | None = None
    clip_norm_target_quantile: Real | None = None
    clip_norm_lr: Real | None = None


class Homomorphic(JobFileObject):
    """Averaging on ciphertexts."""

    poly_modulus_degree: Whole | None = None
    coeff_mod_bit_sizes: tuple[Whole, ...] | None = None
    scale_bits: Whole | None = None
    scheme: Label | None = None


class PrivacyMechanisms(JobFileObject):
    """The mechanisms a job asks for; one that is named is on, whatever stands in it."""

    homomorphic: Homomorphic | None = None
    dp_adaptive: DpAdaptive | None = Field(default=None, alias="dp-adaptive")
