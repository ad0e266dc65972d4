"""Every optimizer and scheduler of PyTorch does what PyTorch's own loop does, across tasks too."""

import gc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fedbus.data import Dataset, from_arrays
from fedbus.errors import Stopped, TrainingError
from fedbus.model.layout import Array, Weights
from fedbus.training.options import FRAMEWORKS
from fedbus.training.params import Architecture, SchedulerParams, TrainingParams, WarmupParams

pytest.importorskip("torch")

import torch
from torch import nn, optim
from torch.nn.functional import cross_entropy
from torch.optim import lr_scheduler

from fedbus.frameworks.torch import TorchTrainer, called_model
from fedbus.frameworks.torch.architectures import build
from fedbus.frameworks.torch.devices import has_bfloat16
from fedbus.frameworks.torch.optimizers import optimizer_of
from fedbus.frameworks.torch.schedules import Schedule, warmup_factor
from fedbus.frameworks.torch.tensors import set_weights, weights_of
from tests.fedbus.frameworks.alike import assert_alike, through_a_file

NET: Architecture = {"name": "mlp", "config": {"layers": [6, 5, 3], "seed": 2}}
BAG: Architecture = {"name": "bag_of_words", "config": {"words": 9, "width": 4, "classes": 3}}
ROWS, STEPS = 8, 3
CLASSES = np.arange(ROWS) % 3
X = np.random.default_rng(1).normal(size=(ROWS, 6)).astype(np.float32)
WORDS = np.random.default_rng(1).integers(0, 9, (ROWS, 4))

OPTIMIZERS: Mapping[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "adadelta": (optim.Adadelta, {"rho": 0.8}),
    "adagrad": (optim.Adagrad, {"lr_decay": 0.1, "initial_accumulator_value": 0.2}),
    "adam": (optim.Adam, {"betas": (0.8, 0.9), "amsgrad": True}),
    "adamw": (optim.AdamW, {"weight_decay": 0.1}),
    "sparseadam": (optim.SparseAdam, {"betas": (0.8, 0.9)}),
    "adamax": (optim.Adamax, {"eps": 1e-6}),
    "asgd": (optim.ASGD, {"t0": 1.0, "lambd": 0.01}),
    "lbfgs": (optim.LBFGS, {"max_iter": 4, "history_size": 3}),
    "nadam": (optim.NAdam, {"momentum_decay": 0.01}),
    "radam": (optim.RAdam, {"betas": (0.8, 0.9)}),
    "rmsprop": (optim.RMSprop, {"centered": True, "momentum": 0.5}),
    "rprop": (optim.Rprop, {"etas": (0.4, 1.1)}),
    "sgd": (optim.SGD, {"momentum": 0.9, "nesterov": True}),
}

SCHEDULERS: Mapping[str, tuple[SchedulerParams, Callable[[Any], Any]]] = {
    "lambdalr": (
        SchedulerParams("lambdalr", {"lr_lambda": "inverse", "decay": 0.5}),
        lambda o: lr_scheduler.LambdaLR(o, lambda x: 1 / (1 + 0.5 * x)),
    ),
    "multiplicativelr": (
        SchedulerParams("multiplicativelr", {"lr_lambda": "constant", "factor": 0.7}),
        lambda o: lr_scheduler.MultiplicativeLR(o, lambda _: 0.7),
    ),
    "steplr": (
        SchedulerParams("steplr", {"step_size": 2, "gamma": 0.5}),
        lambda o: lr_scheduler.StepLR(o, 2, 0.5),
    ),
    "multisteplr": (
        SchedulerParams("multisteplr", {"milestones": (1, 2), "gamma": 0.5}),
        lambda o: lr_scheduler.MultiStepLR(o, [1, 2], 0.5),
    ),
    "constantlr": (
        SchedulerParams("constantlr", {"factor": 0.5, "total_iters": 2}),
        lambda o: lr_scheduler.ConstantLR(o, 0.5, 2),
    ),
    "linearlr": (
        SchedulerParams("linearlr", {"start_factor": 0.25, "total_iters": 4}),
        lambda o: lr_scheduler.LinearLR(o, 0.25, total_iters=4),
    ),
    "exponentiallr": (
        SchedulerParams("exponentiallr", {"gamma": 0.6}),
        lambda o: lr_scheduler.ExponentialLR(o, 0.6),
    ),
    "cosineannealinglr": (
        SchedulerParams("cosineannealinglr", {"T_max": 4, "eta_min": 0.01}),
        lambda o: lr_scheduler.CosineAnnealingLR(o, 4, 0.01),
    ),
    "chainedscheduler": (
        SchedulerParams(
            "chainedscheduler",
            parts=(
                SchedulerParams("constantlr", {"factor": 0.5, "total_iters": 2}),
                SchedulerParams("exponentiallr", {"gamma": 0.9}),
            ),
        ),
        lambda o: lr_scheduler.ChainedScheduler(
            [lr_scheduler.ConstantLR(o, 0.5, 2), lr_scheduler.ExponentialLR(o, 0.9)], o
        ),
    ),
    "sequentiallr": (
        SchedulerParams(
            "sequentiallr",
            {"milestones": (2,)},
            (
                SchedulerParams("constantlr", {"factor": 0.5, "total_iters": 2}),
                SchedulerParams("exponentiallr", {"gamma": 0.9}),
            ),
        ),
        lambda o: lr_scheduler.SequentialLR(
            o, [lr_scheduler.ConstantLR(o, 0.5, 2), lr_scheduler.ExponentialLR(o, 0.9)], [2]
        ),
    ),
    "reducelronplateau": (
        SchedulerParams("reducelronplateau", {"factor": 0.5, "patience": 0, "threshold": 10.0}),
        lambda o: lr_scheduler.ReduceLROnPlateau(o, factor=0.5, patience=0, threshold=10.0),
    ),
    "cycliclr": (
        SchedulerParams("cycliclr", {"base_lr": 0.01, "max_lr": 0.3, "step_size_up": 2}),
        lambda o: lr_scheduler.CyclicLR(o, 0.01, 0.3, 2),
    ),
    "onecyclelr": (
        SchedulerParams("onecyclelr", {"max_lr": 0.4, "total_steps": 5}),
        lambda o: lr_scheduler.OneCycleLR(o, 0.4, 5),
    ),
    "cosineannealingwarmrestarts": (
        SchedulerParams("cosineannealingwarmrestarts", {"T_0": 2, "T_mult": 2}),
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 2, 2),
    ),
}


def data(architecture: Architecture) -> Dataset:
    """Return one batch of rows that a model takes."""
    return from_arrays(WORDS if architecture is BAG else X, CLASSES, ROWS)


def params(**more: Any) -> TrainingParams:  # noqa: ANN401 - fields of TrainingParams
    """Ask for one epoch of one batch, unless told otherwise."""
    usual = {"batch_size": ROWS, "learning_rate": 0.1, "epochs": 1, "keep_optimizer_state": True}
    return TrainingParams(**{**usual, **more})


def ours(architecture: Architecture, wanted: TrainingParams, rounds: int) -> Weights:
    """Train round by round, each with a new trainer that goes on from what the last one kept."""
    weights = TorchTrainer(architecture).initial()
    state: Mapping[str, Array] | None = None
    for number in range(1, rounds + 1):
        trainer = TorchTrainer(architecture)
        if state is not None:
            trainer.load_optimizer_state(through_a_file(state))
        asked = params(**{**_fields(wanted), "round": number})
        weights = trainer.train(weights, data(architecture), asked).weights
        state = trainer.optimizer_state()
    return weights


def _fields(wanted: TrainingParams) -> dict[str, Any]:
    return {name: getattr(wanted, name) for name in TrainingParams.__dataclass_fields__}


def theirs(
    architecture: Architecture,
    wanted: TrainingParams,
    optimizer: Callable[..., Any],
    scheduler: Callable[[Any], Any] = lambda _: None,
    *,
    at_once: bool = False,
) -> Weights:
    """Train with PyTorch's own loop, as its documentation writes it; rows in the tasks' order."""
    net = build(architecture)
    sparse = optimizer is optim.SparseAdam
    for layer in net.modules():
        if isinstance(layer, nn.EmbeddingBag):
            layer.sparse = sparse
    made = optimizer(net.parameters(), lr=wanted.learning_rate, **wanted.optimizer_args)
    plan = scheduler(made)
    batches = [*data(architecture).steps(params(epochs=STEPS if at_once else 1))]
    for x, y in batches if at_once else batches * STEPS:
        rows, truth = torch.from_numpy(x), torch.from_numpy(y)

        def closure(rows: Any = rows, truth: Any = truth) -> Any:  # noqa: ANN401 - tensors
            made.zero_grad()
            loss = cross_entropy(net(rows), truth)
            torch.autograd.backward(loss)
            if sparse:
                for weight in net.parameters():
                    if weight.grad is not None and not weight.grad.is_sparse:
                        weight.grad = weight.grad.to_sparse()
            return loss

        loss = made.step(closure)
        if isinstance(plan, lr_scheduler.ReduceLROnPlateau):
            plan.step(loss.item())
        elif plan is not None:
            plan.step()
    return weights_of(net)


def by_hand(rates: Sequence[float]) -> nn.Module:
    """Take a step of plain SGD at each of these learning rates."""
    net = build(NET)
    made = optim.SGD(net.parameters(), lr=1.0)
    for rate in rates:
        made.param_groups[0]["lr"] = rate
        ((x, y),) = data(NET).steps(params())
        made.zero_grad()
        torch.autograd.backward(cross_entropy(net(torch.from_numpy(x)), torch.from_numpy(y)))
        made.step()
    return net


def test_every_optimizer_and_scheduler_is_held_against_pytorchs() -> None:
    """None of the catalogue's is forgotten here."""
    assert set(OPTIMIZERS) == set(FRAMEWORKS["torch"].optimizers)
    assert set(SCHEDULERS) == set(FRAMEWORKS["torch"].schedulers)


@pytest.mark.parametrize("architecture", [NET, BAG], ids=["dense", "words"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_does_what_pytorchs_own_loop_does(
    name: str, architecture: Architecture
) -> None:
    """In three steps at once, and in three tasks with its state saved and restored between."""
    kind, args = OPTIMIZERS[name]
    wanted = params(optimizer=name, optimizer_args=args)
    own = theirs(architecture, wanted, kind)
    limit = 1e-4 if name == "lbfgs" else 1e-6
    assert_alike(ours(architecture, wanted, STEPS), own, limit)
    trainer = TorchTrainer(architecture)
    first = trainer.initial()
    own = theirs(architecture, wanted, kind, at_once=True)
    wanted = params(optimizer=name, optimizer_args=args, epochs=STEPS)
    assert_alike(trainer.train(first, data(architecture), wanted).weights, own, limit)
    moved = max(float(np.abs(own[tensor] - first[tensor]).max()) for tensor in own)
    assert moved > 10 * limit


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_scheduler_does_what_pytorchs_own_loop_does(name: str) -> None:
    """Over three epochs at once, and over three tasks with its state saved and restored between."""
    chosen, make = SCHEDULERS[name]
    wanted = params(optimizer="sgd", optimizer_args={"momentum": 0.9}, scheduler=chosen)
    own = theirs(NET, wanted, optim.SGD, make)
    assert_alike(ours(NET, wanted, STEPS), own)
    trainer = TorchTrainer(NET)
    longer = params(**{**_fields(wanted), "epochs": STEPS})
    assert_alike(trainer.train(trainer.initial(), data(NET), longer).weights, own)
    plain = theirs(NET, wanted, optim.SGD)
    assert any(np.abs(own[tensor] - plain[tensor]).max() > 1e-5 for tensor in own)


def test_each_part_of_a_chain_steps_at_its_own_time() -> None:
    """What cycles after each batch, what decays after each epoch, as in a loop of torch's."""
    cycle = {"base_lr": 0.01, "max_lr": 0.3, "step_size_up": 3, "cycle_momentum": False}
    parts = (SchedulerParams("cycliclr", cycle), SchedulerParams("exponentiallr", {"gamma": 0.5}))
    assert rates(
        SchedulerParams("chainedscheduler", parts=parts[1:]), batches=2, epochs=3
    ) == pytest.approx([0.1, 0.1, 0.05, 0.05, 0.025, 0.025])
    optimizer = optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    by_batch = lr_scheduler.CyclicLR(optimizer, 0.01, 0.3, 3, cycle_momentum=False)
    by_epoch = lr_scheduler.ExponentialLR(optimizer, 0.5)
    theirs = []
    for _ in range(3):
        for _ in range(2):
            theirs.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            by_batch.step()
        by_epoch.step()
    found = rates(SchedulerParams("chainedscheduler", parts=parts), batches=2, epochs=3)
    assert found == pytest.approx(theirs)


@pytest.mark.parametrize("kind", ["onecyclelr", "chainedscheduler", "sequentiallr"])
def test_a_cycle_that_is_over_stays_where_it_ended(kind: str) -> None:
    """Alone and as a part of others; PyTorch's own would raise."""
    half = {"total_steps": 4, "pct_start": 0.5, "cycle_momentum": False}
    cycle = SchedulerParams("onecyclelr", {"max_lr": 0.1, **half})
    args: dict[str, Any] = {"milestones": (5,)} if kind == "sequentiallr" else {}
    late = SchedulerParams("constantlr", {"factor": 0.5, "total_iters": 1})
    parts = (cycle, late) if kind == "sequentiallr" else (cycle,)
    chosen = cycle if kind == "onecyclelr" else SchedulerParams(kind, args, parts)
    found = rates(chosen, batches=3, epochs=3)
    assert found[:2] == pytest.approx([0.1 / 25, 0.1])
    assert found[3] == found[4] < found[0]
    assert (found[5] == found[4]) is (kind != "sequentiallr")


def rates(chosen: SchedulerParams, batches: int, epochs: int) -> list[float]:
    """List the learning rates of plain SGD's steps."""
    optimizer = optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    schedule = Schedule(optimizer, params(scheduler=chosen))
    found = []
    for _ in range(epochs):
        for _ in range(batches):
            found.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.after_batch()
        schedule.after_epoch({"loss": 1.0})
    return found


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("lambdalr", {"lr_lambda": "exponential", "gamma": 1e200}),
        ("lambdalr", {"lr_lambda": "exponential", "gamma": 2**31 - 1}),
        ("lambdalr", {"lr_lambda": "constant", "factor": 1e300}),
        ("exponentiallr", {"gamma": 1e20}),
        ("cycliclr", {"base_lr": 1e37, "max_lr": 1e38, "cycle_momentum": False}),
        ("onecyclelr", {"max_lr": 0.1, "total_steps": 2, "pct_start": 0.5}),
    ],
)
def test_a_learning_rate_beyond_all_bounds_is_said_in_a_sentence(
    name: str, args: dict[str, Any]
) -> None:
    """No error of arithmetic comes out of PyTorch."""
    with pytest.raises(TrainingError, match=rf"torch: {name}: "):
        rates(SchedulerParams(name, args), batches=20, epochs=40)


def test_warm_up_runs_for_its_epochs_and_no_longer() -> None:
    """Then the scheduler begins, with the job's own learning rate."""
    plan = WarmupParams(epochs=2, iters=4, factor=0.2)
    wanted = params(warmup=plan, scheduler=SchedulerParams("exponentiallr", {"gamma": 0.5}))
    rates = [0.1 * warmup_factor(0, plan), 0.1 * warmup_factor(1, plan), 0.1, 0.05, 0.025]
    assert rates[:2] == pytest.approx([0.02, 0.04])
    net = by_hand(rates)
    assert_alike(ours(NET, wanted, len(rates)), weights_of(net))


def test_a_scheduler_may_stand_in_during_warm_up() -> None:
    """Any of them."""
    plan = WarmupParams(
        epochs=2, scheduler=SchedulerParams("constantlr", {"factor": 0.5, "total_iters": 9})
    )
    wanted = params(warmup=plan)
    net = by_hand([0.05, 0.05, 0.1])
    assert_alike(ours(NET, wanted, 3), weights_of(net))


def test_without_its_state_a_task_begins_where_the_job_is() -> None:
    """Warm-up that is over stays over."""
    plan = WarmupParams(epochs=2, iters=100, factor=0.01)
    trainer = TorchTrainer(NET)
    late = trainer.train(trainer.initial(), data(NET), params(warmup=plan, round=3)).weights
    plain = trainer.train(trainer.initial(), data(NET), params()).weights
    assert_alike(late, plain)


def test_a_state_that_is_not_of_this_job_is_refused() -> None:
    """With what made it."""
    trainer = TorchTrainer(NET)
    adam = params(optimizer="adam")
    for _ in range(2):
        with pytest.raises(TrainingError, match="nothing has been trained to its end with keep_op"):
            trainer.optimizer_state()
        trainer.train(trainer.initial(), data(NET), replace(adam, keep_optimizer_state=False))
    weights = trainer.train(trainer.initial(), data(NET), adam).weights
    state = dict(trainer.optimizer_state())
    trainer.load_optimizer_state(state)
    with pytest.raises(TrainingError, match=r"kept by torch \('adam'.*needs that of torch \('sgd'"):
        trainer.train(weights, data(NET), params())
    wrong = {name: np.zeros(3, a.dtype) if "exp_avg" in name else a for name, a in state.items()}
    for damaged in (wrong, {**state, "done": np.zeros(3, int)}):
        trainer.load_optimizer_state(damaged)
        with pytest.raises(TrainingError, match="the optimizer state is damaged"):
            trainer.train(weights, data(NET), adam)
    trainer.load_optimizer_state({})
    with pytest.raises(TrainingError, match="kept by an unknown trainer"):
        trainer.train(weights, data(NET), adam)
    trainer.train(weights, data(NET), adam)  # what was found is forgotten


def test_no_optimizer_state_stays_in_memory_after_a_task() -> None:
    """Of Adam, twice the model, and the gradients, once more: an agent idles between two tasks."""
    trainer = TorchTrainer(NET)
    chosen = SchedulerParams("exponentiallr", {"gamma": 0.5})
    gc.collect()
    gc.disable()  # what only its next full run would find is held as well
    try:
        before, gradients = optimizers_held(), gradients_held()
        for keep_optimizer_state in (False, True, True, False):
            wanted = params(
                optimizer="adam", scheduler=chosen, keep_optimizer_state=keep_optimizer_state
            )
            trainer.train(trainer.initial(), data(NET), wanted)
            assert optimizers_held() - before == keep_optimizer_state
            assert gradients_held() == gradients
    finally:
        gc.enable()


def optimizers_held() -> int:
    """Count those of this process."""
    return sum(issubclass(type(each), optim.Optimizer) for each in gc.get_objects())


def gradients_held() -> int:
    """Count the weights of this process that have one."""
    found = (each for each in gc.get_objects() if type(each) is nn.Parameter)
    return sum(each.grad is not None for each in found)


def test_a_batch_that_takes_long_is_stopped_within() -> None:
    """LBFGS may score one ten thousand times: it asks each time, and never looks hung."""
    asked: list[bool] = []

    def stop() -> bool:
        asked.append(len(asked) == 5)
        return asked[-1]

    never = {"tolerance_grad": 0.0, "tolerance_change": 0.0}
    args = {"max_iter": 10_000, "max_eval": 100_000, **never}
    trainer = TorchTrainer(NET)
    wanted = params(optimizer="lbfgs", optimizer_args=args)
    with pytest.raises(Stopped):
        trainer.train(trainer.initial(), data(NET).with_stop(stop), wanted)
    assert asked == [False] * 5 + [True]
    asked.clear()
    trainer.train(trainer.initial(), data(NET).with_stop(stop), params())
    assert asked == [False]  # others ask once for each batch


def test_mixed_precision_trains_nearly_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """With half the bits in the products; the weights stay whole."""
    monkeypatch.setattr(called_model, "has_bfloat16", lambda _: True)
    trainer = TorchTrainer(NET)
    full = trainer.train(trainer.initial(), data(NET), params(epochs=5))
    mixed = trainer.train(trainer.initial(), data(NET), params(epochs=5, precision="mixed"))
    assert_alike(full.weights, mixed.weights, 0.02)
    assert any((full.weights[name] != mixed.weights[name]).any() for name in full.weights)
    assert {a.dtype for a in mixed.weights.values()} == {np.dtype(np.float32)}


@pytest.mark.skipif(torch.cuda.is_available(), reason="of processors")
def test_a_processor_trains_in_full_whatever_the_job_says() -> None:
    """It would only imitate bfloat16, and take longer."""
    trainer = TorchTrainer(NET)
    first = trainer.initial()
    full = trainer.train(first, data(NET), params())
    mixed = trainer.train(first, data(NET), params(precision="mixed"))
    assert_alike(full.weights, mixed.weights, 0)


def test_a_gpu_computes_in_bfloat16_if_it_does_so_by_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An old one would have to emulate it."""
    asked: list[bool] = []

    def said(*, including_emulation: bool) -> bool:
        asked.append(including_emulation)
        return len(asked) == 1

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", said)
    gpu = torch.device("cuda")
    assert [has_bfloat16(gpu), has_bfloat16(gpu)] == [True, False]
    assert not has_bfloat16(torch.device("cpu"))
    assert asked == [False, False]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("precision", ["full", "mixed"])
@pytest.mark.parametrize("architecture", [NET, BAG], ids=["dense", "words"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_gpu_takes_the_same_steps_with_its_state_saved_and_restored(
    name: str, architecture: Architecture, precision: str
) -> None:
    """Near what the processor does, though it sums in another order."""
    kind, args = OPTIMIZERS[name]
    wanted = params(optimizer=name, optimizer_args=args, precision=precision)
    assert next(TorchTrainer(architecture)._net.parameters()).is_cuda  # noqa: SLF001 - not public
    own = theirs(architecture, wanted, kind)
    assert_alike(ours(architecture, wanted, STEPS), own, 1e-3 if precision == "full" else 0.2)


def test_what_pytorch_refuses_is_said_in_a_sentence() -> None:
    """No trace of calls."""
    trainer = TorchTrainer(NET)
    for wanted in (
        params(optimizer="adam", optimizer_args={"rho": 1}),
        params(scheduler=SchedulerParams("steplr", {})),
        params(
            scheduler=SchedulerParams("cycliclr", {"base_lr": 0.1, "max_lr": 1}),
            optimizer="adagrad",
        ),
    ):
        with pytest.raises(TrainingError, match="torch: "):
            trainer.train(trainer.initial(), data(NET), wanted)
    net = nn.Linear(2, 2).requires_grad_(requires_grad=False)
    with pytest.raises(TrainingError, match="torch: sgd"):
        optimizer_of(net, params())


def test_weights_go_in_as_they_came_out() -> None:
    """Of an embedding too, which is not turned."""
    net = build(BAG)
    weights = weights_of(net)
    set_weights(net, weights)
    assert_alike(weights_of(net), weights, 0)
