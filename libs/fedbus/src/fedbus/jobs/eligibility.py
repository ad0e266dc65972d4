"""Eligibility of an agent for a training task, judged by the facts that the agent announces. Pure.

The controller asks before it selects a cohort, the agent before it accepts a task, so that a task
that cannot be done is refused with its reason before a round depends on it. An unknown fact does
not make an agent ineligible. Each `..._reason` function returns why the agent is not eligible, or
None.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fedbus.jobs.input_match import input_reason
from fedbus.text import listed
from fedbus.training.dp_sgd import DP_SGD_FRAMEWORK
from fedbus.training.options import FRAMEWORKS, peak_state_slots, state_slots
from fedbus.training.params import DataOverrides, TrainingParams
from fedbus.wire.documents import AgentFacts, ModelNeeds
from fedbus.wire.identifiers import BASE

MODEL_COPIES = 4
"""Copies of a model's bytes held while training, beside the base: weights, gradients, new weights,
and the difference that becomes the update."""

TFLITE_MODEL_COPIES = 6
"""Further copies where the only trainer is TFLite: its file holds weights and is copied, momentum
is always allocated, and so are the inputs and outputs of its signatures."""

TERM_COPIES = 2
"""Further copies where the strategy has an objective: the base, which the proximal term needs, and
the factors of the linear term."""

OPTIMIZER_STATE_FILES = 3
"""Optimizer states stored for one job: those of two rounds, and the next while it is written."""

LOADER_BATCH_ROWS = 256
"""Loader batch size used to estimate the memory of job transforms."""

ROW_COPIES = 4
"""Copies of a row at its largest: as loaded, before and after a transform, and in the framework."""

_MIB = 2**20
_NUMBER_BYTES = 4
"""Size of a number whose format names no dtype."""
_DEFAULT_PARAMS = TrainingParams()


@dataclass(frozen=True, slots=True)
class TrainingRequirements:
    """What a training asks of an agent.

    Attributes:
        weights_bytes: Size of the model's weights.
        trainer: The trainer that the job names; None leaves the choice to the agent.
        needs: What the model's spec requires; None where the spec is not known.
        params: The job's training parameters. With a `data_overrides`, the format that
            an agent announces is not that of the rows its trainer is given.
    """

    weights_bytes: int
    trainer: str | None = None
    needs: ModelNeeds | None = None
    params: TrainingParams = _DEFAULT_PARAMS


@dataclass(frozen=True, slots=True)
class RowFormat:
    """Format of the rows that a trainer is given, as aerOS writes it, and a row's largest size.

    `max_row_bytes` is the largest size of a row on its way through the transforms. A format of `{}`
    is not known yet.
    """

    format: Mapping[str, Any]
    max_row_bytes: int

    @classmethod
    def announced(cls, format_: Mapping[str, Any]) -> "RowFormat":
        """Estimate from an announced format alone, as if no transform made a row larger."""
        return cls(format_, sum(_bytes_of_half(format_.get(half)) for half in ("x", "y")))


def ineligibility_reason(requirements: TrainingRequirements, facts: AgentFacts) -> str | None:
    """Return the first reason why an agent cannot do a training; None: it is eligible."""
    params, needs = requirements.params, requirements.needs
    return (
        facts.trouble
        or resources_reason(requirements.weights_bytes, params, facts)
        or trainer_reason(requirements.trainer, needs, facts)
        or dp_sgd_reason(requirements.trainer, needs, params, facts)
        or data_plugins_reason(params.data_overrides, facts)
        or _announced_input_reason(needs, params.data_overrides, facts)
        or None
    )


def _announced_input_reason(
    needs: ModelNeeds | None, overrides: DataOverrides | None, facts: AgentFacts
) -> str | None:
    if needs is None or overrides is not None:
        return None
    return input_reason(needs.input, facts.format)


def training_memory_bytes(
    weights_bytes: int, params: TrainingParams, *, only_tflite: bool = False
) -> int:
    """Estimate the memory of a training: base, `MODEL_COPIES` of it and the optimizer's state.

    Measured peaks for a model of 65 MiB of dense layers, base included, in multiples of its size,
    with the estimate in brackets; "kept" is with `keep_optimizer_state`. PyTorch: SGD 4.5 (5), Adam
    6.5 (7), kept 7.7 (9), SparseAdam 9 (17, as for one layer that is most of the model), LBFGS with
    a history of 10 29.5 (34), kept 55.5 (57). Keras: SGD 5.5 (5), Adam 7.6 (7), kept 10.5 (9).
    TFLite: SGD 10.6 (11), Adam 12.3 (13), kept 16 (15). With a strategy's objective, for a model of
    73 MiB and PyTorch: SGD with a proximal term 5.1, with both terms 5.3 (7), without 4.1 (5); Adam
    6.6, 7.7 (9), without 6.4 (7). Keras: SGD with both terms 3 more than without.
    """
    copies = MODEL_COPIES + (TFLITE_MODEL_COPIES if only_tflite else 0)
    copies += TERM_COPIES if params.objective is not None else 0
    return weights_bytes * (1 + copies + _optimizer_copies(params))


def _optimizer_copies(params: TrainingParams) -> int:
    return peak_state_slots(
        params.optimizer, params.optimizer_args, keep_state=params.keep_optimizer_state
    )


def resources_reason(
    weights_bytes: int,
    params: TrainingParams,
    facts: AgentFacts,
    more_memory_bytes: int = 0,
    more_storage_bytes: int = 0,
) -> str | None:
    """Compare the memory and storage that a training needs with those that an agent has free.

    `more_…_bytes` are those of a strategy's arrays beside the weights.
    """
    only_tflite = facts.trainers == ("tflite",)
    training = training_memory_bytes(weights_bytes, params, only_tflite=only_tflite)
    needed = (training + more_memory_bytes) // _MIB
    if facts.memory_mb and needed > facts.memory_mb:
        how = f" with {params.optimizer}" if _optimizer_copies(params) else ""
        return f"training{how} needs about {needed} MiB of memory, {facts.memory_mb} are available"
    states = 0
    if params.keep_optimizer_state:
        states = OPTIMIZER_STATE_FILES * state_slots(params.optimizer, params.optimizer_args)
    # An update is as large as its model.
    stored = (weights_bytes * (1 + states) + more_storage_bytes) // _MIB
    if stored > facts.storage_mb:
        kept = states or more_storage_bytes
        what = "its update and what is kept between rounds need" if kept else "its update needs"
        return f"{what} about {stored} MiB of storage, {facts.storage_mb} are free"
    return None


def batch_memory_reason(
    rows: RowFormat, params: TrainingParams, examples: int, memory_mb: int
) -> str | None:
    """Compare the memory of the rows held at once with `memory_mb`; 0 MiB is unknown.

    Transforms of the job run on whole loader batches, so then at least `LOADER_BATCH_ROWS` count.
    """
    size = params.batch_size
    count = min(size if params.data_overrides is None else max(size, LOADER_BATCH_ROWS), examples)
    needed = ROW_COPIES * rows.max_row_bytes * count // _MIB
    if memory_mb and needed > memory_mb:
        return (
            f"{count} rows of up to {rows.max_row_bytes} bytes need about {needed} MiB of memory, "
            f"{memory_mb} are available; use smaller rows or a smaller batch_size"
        )
    return None


def _bytes_of_half(half: object) -> int:
    match half:
        case {"data_types": dict(kinds)}:
            return sum(_bytes_of_kind(kind) for kind in kinds.values())
        case _:
            return 0


def _bytes_of_kind(kind: object) -> int:
    match kind:
        case {"size": [*size], **rest} if all(type(n) is int and n > 0 for n in size):
            bits = re.search(r"\d+$", str(rest.get("dtype", "")))
            return int(math.prod(size)) * (int(bits[0]) // 8 if bits else _NUMBER_BYTES)
        case _:
            return 0


def trainer_reason(wanted: str | None, needs: ModelNeeds | None, facts: AgentFacts) -> str | None:
    """Compare a job's trainer and a model's architectures with an agent's trainers.

    An agent that announces none is eligible: whether it can train is not known.
    """
    here = facts.trainers
    if not here:
        return None
    if wanted == BASE:
        here, wanted = tuple(name for name in here if name in FRAMEWORKS), None
        if not here:
            return f"no trainer that fedbus ships, only {listed(facts.trainers)}"
    if wanted is not None and wanted not in here:
        return f"no trainer {wanted!r}, only {listed(here)}"
    if wanted is None and needs is not None and not set(needs.architectures) & set(here):
        known = listed(needs.architectures) or "none"
        return f"no trainer for the model ({known}), only {listed(here)}"
    return None


def dp_sgd_reason(
    wanted: str | None, needs: ModelNeeds | None, params: TrainingParams, facts: AgentFacts
) -> str | None:
    """Compare what DP-SGD asks with the examples and trainers that an agent announces.

    A trainer that fedbus does not ship may train with DP-SGD, and a loader of the job may give
    another number of examples: neither is known here.
    """
    if params.dp_sgd is None:
        return None
    least = params.dp_sgd.least_examples
    if facts.examples < least and params.data_overrides is None:
        return f"fewer training examples than {least}, the least_examples of dp-sgd"
    usable = set(facts.trainers)
    if wanted not in {None, BASE}:
        usable &= {wanted}
    elif needs is not None:
        usable &= set(needs.architectures)
    if usable and usable <= FRAMEWORKS.keys() - {DP_SGD_FRAMEWORK}:
        return f"no trainer that trains with dp-sgd ({DP_SGD_FRAMEWORK}), only {listed(usable)}"
    return None


def data_plugins_reason(overrides: DataOverrides | None, facts: AgentFacts) -> str | None:
    """Name the loader or transform that a job wants and an agent does not announce.

    An agent that announces no transform is eligible: its plug-ins are not known.
    """
    if overrides is None or not facts.transforms:
        return None
    if overrides.loader is not None and overrides.loader not in facts.loaders:
        return f"no loader {overrides.loader!r}, only {listed(facts.loaders)}"
    for step in overrides.transforms:
        if step.id not in facts.transforms:
            return f"no transform {step.id!r}, only {listed(facts.transforms)}"
    return None
