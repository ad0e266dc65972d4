"""Whether a model fits an agent, as far as the agent's own facts can tell. Pure.

The controller asks before it chooses an agent, the agent before it takes a task: a job that cannot
be done there is refused with the reason before a round counts on it. What nobody knows fits.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fedbus.catalogue import FRAMEWORKS, at_most, slots
from fedbus.text import listed
from fedbus.wire.states import AgentFacts, ModelNeeds
from fedbus.wire.values import BASE, Reading, TrainingParams

MEMORY_FACTOR = 4
"""Of an update's bytes, beside the model's: weights, gradients, new weights, the difference."""

LITE = 6
"""More of them where only TFLite is: its file holds weights too and is copied, its momentum is
always there, and so is what goes in and what comes out."""

STATES = 3
"""Of what a job's optimizer keeps, on the disk: of two rounds, and the next while it is written."""

LOADED = 256
"""Rows that loaders hand out at once: what a job makes of a row, it makes of so many."""

COPIES = 4
"""Of rows at their widest: as they came, before and after a step, and what a framework copies."""

_MIB = 2**20
_NUMBER = 4
"""Bytes of one where a format does not say its dtype."""
_PLAIN = TrainingParams()


@dataclass(frozen=True, slots=True)
class Wish:
    """A training, as far as it decides who can do it: bytes of weights, and what the card says.

    With a `reading` of the job's own, what an agent announces is not what its trainer is given.
    """

    size: int
    trainer: str | None = None
    needs: ModelNeeds | None = None
    params: TrainingParams = _PLAIN


def misfit(wish: Wish, facts: AgentFacts) -> str | None:
    """Say why an agent cannot do a training; None: it can, for all that is known."""
    return (
        facts.trouble
        or no_room(wish.size, wish.params, facts)
        or no_trainer(wish.trainer, wish.needs, facts)
        or no_reader(wish.params.reading, facts)
        or _other_input(wish, facts)
        or None
    )


def _other_input(wish: Wish, facts: AgentFacts) -> str | None:
    if wish.needs is None or wish.params.reading is not None:
        return None
    return other_format(wish.needs.input, facts.format)


def no_room(size: int, params: TrainingParams, facts: AgentFacts) -> str | None:
    """Say why an agent cannot hold a training of so many bytes of weights.

    Beside the model's bytes there are, of its size, `MEMORY_FACTOR` copies and what its optimizer
    keeps. What a model of 65 MiB of dense layers took at its peak, its base included, in sizes of
    its own, and in brackets what is reckoned: PyTorch 4.5 (5), with Adam 6.5 (7), with `keep_state`
    7.7 (9), SparseAdam 9 (17, as for one layer that is most of the model), LBFGS of a
    history of 10 29.5 (34), with `keep_state` 55.5 (57); Keras 5.5 (5), Adam 7.6 (7), with
    `keep_state` 10.5 (9); TFLite 10.6 (11), Adam 12.3 (13), with `keep_state` 16 (15).
    """
    optimizer, args, handed_over = params.optimizer, params.optimizer_args, params.keep_state
    more = at_most(optimizer, args, handed_over=handed_over)
    factor = MEMORY_FACTOR + LITE if facts.trainers == ("tflite",) else MEMORY_FACTOR
    needed = size * (1 + factor + more) // _MIB  # an update is as large as its model
    how = f" with {optimizer}" if more else ""
    if facts.memory_mb and needed > facts.memory_mb:
        return f"training{how} needs about {needed} MiB of memory, {facts.memory_mb} are available"
    states = STATES * slots(optimizer, args) if handed_over else 0
    stored = size * (1 + states) // _MIB
    if stored > facts.storage_mb:
        what = "its update and what is kept between rounds need" if states else "its update needs"
        return f"{what} about {stored} MiB of storage, {facts.storage_mb} are free"
    return None


@dataclass(frozen=True, slots=True)
class Rows:
    """What a trainer is given: a format as aerOS writes it, and the bytes of a row at its widest.

    A format of `{}` is one that nobody knows yet.
    """

    form: Mapping[str, Any]
    widest: int

    @classmethod
    def of(cls, form: Mapping[str, Any]) -> "Rows":
        """Take rows that are as wide as they ever were."""
        return cls(form, sum(_bytes_of(form.get(half)) for half in ("x", "y")))


def no_room_for_rows(
    rows: Rows, params: TrainingParams, examples: int, memory_mb: int
) -> str | None:
    """Say why an agent cannot hold the rows that its trainer is given at once; see `AgentFacts`."""
    at_once = params.batch_size if params.reading is None else max(params.batch_size, LOADED)
    count = min(at_once, examples)
    needed = COPIES * rows.widest * count // _MIB
    if memory_mb and needed > memory_mb:
        return (
            f"{count} rows of up to {rows.widest} bytes need about {needed} MiB of memory, "
            f"{memory_mb} are available; smaller rows or a smaller batch_size do"
        )
    return None


def _bytes_of(half: object) -> int:
    match half:
        case {"data_types": dict(kinds)}:
            return sum(_bytes_of_kind(said) for said in kinds.values())
        case _:
            return 0


def _bytes_of_kind(said: object) -> int:
    match said:
        case {"size": [*size], **rest} if all(type(n) is int and n > 0 for n in size):
            bits = re.search(r"\d+$", str(rest.get("dtype", "")))
            return int(math.prod(size)) * (int(bits[0]) // 8 if bits else _NUMBER)
        case _:
            return 0


def no_trainer(wanted: str | None, needs: ModelNeeds | None, facts: AgentFacts) -> str | None:
    """Say why an agent has no trainer for a job; agents that name none say nothing about it."""
    here = facts.trainers
    if not here:
        return None
    if wanted == BASE:
        here, wanted = tuple(name for name in here if name in FRAMEWORKS), None
        if not here:
            return f"no trainer that fedbus ships is here; there is {listed(facts.trainers)}"
    if wanted is not None and wanted not in here:
        return f"no trainer {wanted!r} here; there is {listed(here)}"
    if wanted is None and needs is not None and not set(needs.structures) & set(here):
        known = listed(needs.structures) or "nobody"
        return f"the model is for {known}; here there is {listed(here)}"
    return None


def no_reader(reading: Reading | None, facts: AgentFacts) -> str | None:
    """Say which plug-in an agent lacks that a job wants data read with; see `no_trainer`."""
    if reading is None or not facts.transforms:
        return None
    if reading.loader is not None and reading.loader not in facts.loaders:
        return f"no loader {reading.loader!r} here; there is {listed(facts.loaders)}"
    for step in reading.transforms:
        if step.id not in facts.transforms:
            return f"no transform {step.id!r} here; there is {listed(facts.transforms)}"
    return None


def other_format(wanted: Mapping[str, Any], form: Mapping[str, Any]) -> str | None:
    """Say why data do not fit a model's input, both as aerOS writes formats.

    `wanted` is the card's `input`, `{"data_types": {"image": {"size": [28, 28, 1], "normalized":
    true}}}`; `form` an agent's, with such an entry under `x`. A model that wants normalised numbers
    takes no others; one that does not say so takes any.
    """
    wants, has = _types(wanted.get("x", wanted)), _types(form.get("x"))
    if not wants or not has:
        return None
    for kind, want in wants.items():
        have = has.get(kind)
        if have is None or (want[0] and have[0] and want[0] != have[0]):
            return (
                f"the model takes {_shown(wants)}; the data here is {_shown(has)}"
                f"{_turned(wanted.get('x', wanted), form.get('x'))}"
            )
        if want[1] and not have[1]:
            return f"the model takes normalised {kind} data; the data here is not normalised"
    return None


def _turned(wanted: object, have: object) -> str:
    """Name the transform that moves an image's channels where a model has them."""
    match wanted, have:
        case (
            {"data_types": {"image": {"size": [*wants]}}},
            {"data_types": {"image": {"size": [*has]}}},
        ) if len(wants) == len(has) == 3:  # noqa: PLR2004 - height, width, channels
            first, second, last = has
            if wants == [last, first, second]:
                return ', channels last (the transform "channels-first" moves them)'
            if wants == [second, last, first]:
                return ', channels first (the transform "channels-last" moves them)'
    return ""


def _types(form: object) -> dict[str, tuple[str, bool]]:
    """Read `data_types`: of each kind its size, as it is written, and whether it is normalised."""
    match form:
        case {"data_types": dict(kinds)}:
            return {
                str(kind): (str(said.get("size") or ""), said.get("normalized") is True)
                for kind, said in kinds.items()
                if isinstance(said, dict)
            }
        case _:
            return {}


def _shown(types: Mapping[str, tuple[str, bool]]) -> str:
    return " and ".join(f"{kind[:40]} {size[:80]}".rstrip() for kind, (size, _) in types.items())
