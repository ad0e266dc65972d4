"""Objects of a job file with aerOS's option sets: optimizer, scheduler, warm-up. Pure.

Every key is optional. Only the types are here; `fedbus.training.options` states which optimizer or
scheduler accepts which key, and its bounds. Keys that aerOS's sets lack are named as in PyTorch.
"""

from typing import Annotated

from pydantic import BeforeValidator, Field

from fedbus.jobs.field_types import JobFileObject, Label, Pair, Real, Whole, Word, flag_as_number
from fedbus.limits import MAX_SCHEDULERS


class OptimizerConfig(JobFileObject):
    """The 47 keys of aerOS's optimizers; only those that are set are passed to the optimizer."""

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
    name: Label | None = Field(default=None, description="A label without effect.")
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
    """Name and arguments of one scheduler or callback."""

    scheduler: Word | None = None
    step_size: Whole | None = None
    gamma: Real | None = None
    last_epoch: Whole | None = None
    verbose: Annotated[int, Field(ge=0, le=2), BeforeValidator(flag_as_number)] | None = Field(
        default=None, description="Without effect: agents print nothing."
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
        default=None,
        description="Name of a function, whose parameters are further keys of this object.",
    )
    decay: Real | None = None
    power: Real | None = None


class SchedulerConfig(SingleSchedulerConfig):
    """Arguments of schedulers and callbacks: aerOS's 20, and further ones of PyTorch."""

    schedulers: (
        Annotated[tuple[SingleSchedulerConfig, ...], Field(max_length=MAX_SCHEDULERS)] | None
    ) = Field(
        default=None,
        description="The schedulers that chainedscheduler and sequentiallr consist of.",
    )


class WarmupConfig(JobFileObject):
    """Warm-up, which replaces the scheduler in the first `warmup_epochs` of a job.

    With `lambdalr` without `lr_lambda`, or without a scheduler, the learning rate after x batches
    is multiplied by factor * (1 - x / iters) + x / iters.
    """

    scheduler: Word | None = None
    warmup_iters: Annotated[Whole, Field(ge=1, le=100_000_000)] | None = None
    warmup_epochs: Annotated[Whole, Field(ge=0, le=100_000)] | None = Field(
        default=None, description="0: no warm-up."
    )
    warmup_factor: Annotated[Real, Field(gt=0, le=1000)] | None = None
    scheduler_conf: SchedulerConfig = SchedulerConfig()
