"""Pipelines: transforms in order, in aerOS's notation `[{"id": …, "parameters": {…}}, …]`.

Each step changes the rows and their declared format. After each step the rows are checked against
the declaration, so an error names the step that caused it.
"""

import inspect
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, cast

import numpy as np

from fedbus import plugins
from fedbus.data.dataset import Batch
from fedbus.data.format import Field, Format, check_batch, differences
from fedbus.data.json_or_file import error_prefix, read_json_or_file
from fedbus.errors import FedbusError, PluginError, TrainingError
from fedbus.limits import MAX_TRANSFORMS
from fedbus.plugins.protocols import Transform
from fedbus.text import in_given_order, nearest

_NOT_NAMED: Final = {
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.VAR_POSITIONAL,
    inspect.Parameter.VAR_KEYWORD,
}


@dataclass(frozen=True, slots=True)
class PipelineStep:
    """One transform, and its name in error messages: `transform 2 (resize)`."""

    name: str
    transform: Transform

    @property
    def augments(self) -> bool:
        """Whether the transform is an augmentation, for training only."""
        return bool(getattr(self.transform, "augments", False))

    @property
    def targets_only(self) -> bool:
        """Whether the transform changes y alone, which a request to inference does not have."""
        return bool(getattr(self.transform, "targets_only", False))


def read_steps(plain: object, allowed: Collection[str] | None = None) -> list[PipelineStep]:
    """Make the transforms of a list; `allowed` as for `fedbus.plugins.load`.

    Raises:
        TrainingError: the list is malformed; the message names the step.
        PluginError: a transform is not installed, not allowed, or does not take its parameters.
    """
    if not isinstance(plain, list) or len(plain) > MAX_TRANSFORMS:
        raise TrainingError(
            f"expected a list of at most {MAX_TRANSFORMS} objects with id and parameters"
        )
    return [_step(number, each, allowed) for number, each in enumerate(plain, 1)]


def read_pipeline(given: str | Path, allowed: Collection[str] | None = None) -> list[PipelineStep]:
    """Make the transforms of a JSON file, or of a JSON text.

    Raises:
        FedbusError: as for `read_steps`, or the file cannot be read; the message names it.
    """
    plain = read_json_or_file(given)
    try:
        return read_steps(plain, allowed)
    except FedbusError as error:
        raise type(error)(f"{error_prefix(given)}{error}") from error


def _step(number: int, plain: object, allowed: Collection[str] | None) -> PipelineStep:
    match plain:
        case {"id": str(name), **rest} if rest.keys() <= {"parameters"}:
            parameters = rest.get("parameters", {})
        case _:
            raise TrainingError(
                f"transform {number}: expected an object with id and parameters, got {plain!r}"
            )
    where = f"transform {number} ({name})"
    if not isinstance(parameters, dict):
        raise TrainingError(f"{where}: expected an object of parameters, got {parameters!r}")
    return PipelineStep(where, make_transform(where, name, parameters, allowed))


def make_transform(
    where: str, name: str, parameters: dict[str, Any], allowed: Collection[str] | None
) -> Transform:
    """Make a transform; raise PluginError if it is missing, not allowed, or refuses parameters."""
    try:
        factory: Any = plugins.load("transforms", name, allowed)
        check_call(factory, parameters)
        return cast("Transform", factory(**parameters))
    except FedbusError as error:
        raise type(error)(f"{where}: {error}") from error
    except TypeError as error:
        shown = ", ".join(f"{name}: {value!r}" for name, value in parameters.items())
        raise PluginError(f"{where}: {error}; its parameters are {shown or 'none'}") from error
    except (Exception, SystemExit) as error:  # any exception of a third-party transform
        raise PluginError(f"{where}: {type(error).__name__}: {error}") from error


def check_call(call: Any, given: dict[str, Any], *first: object) -> None:  # noqa: ANN401 - a plug-in
    """Raise PluginError for arguments that a plug-in does not take, with those it takes."""
    try:
        signature = inspect.signature(call)
    except (TypeError, ValueError):
        return  # written in C: nothing to be seen
    known = list(signature.parameters.values())[len(first) :]
    named_ones = [each.name for each in known if each.kind not in _NOT_NAMED]
    takes = f"it takes {in_given_order(named_ones) or 'nothing'}"
    anything = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in known)
    if unknown := [] if anything else [name for name in given if name not in named_ones]:
        near = nearest(unknown[0], named_ones)
        meant = f"did you mean {near!r}? " if near else ""
        raise PluginError(f"no option {unknown[0]!r}; {meant}{takes}")
    try:
        signature.bind(*first, **given)
    except TypeError as error:
        raise PluginError(f"{error}; {takes}") from error


class Pipeline:
    """Steps for data of one format; `formats[n]` is the format after n steps.

    Raises:
        TrainingError: a step cannot take the output of the step before it; the message names it.
    """

    def __init__(self, steps: Sequence[PipelineStep], form: Format) -> None:
        self.steps = tuple(steps)
        self.formats = [form]
        for step in self.steps:
            self.formats.append(_declared(step, self.formats[-1]))

    @property
    def output(self) -> Format:
        """Format of the rows that a trainer gets."""
        return self.formats[-1]

    @property
    def max_row_bytes(self) -> int:
        """Largest size of a row (x and y) between two steps, in bytes."""
        return max(form.bytes for form in self.formats)

    def apply(self, batch: Batch, rng: np.random.Generator, *, may_exceed: bool = False) -> Batch:
        """Apply all steps to a batch; the number of rows stays.

        Args:
            may_exceed: Numbers of x may be beyond -1 to 1 where they are declared normalized.

        Raises:
            TrainingError: a step fails, or its output differs from its declared format.
        """
        count = len(batch[0])
        for step, form in zip(self.steps, self.formats[1:], strict=True):
            try:
                batch = step.transform.transform_data(batch, rng)
                check_batch(batch, _any_numbers(form) if may_exceed else form)
            except FedbusError as error:
                raise TrainingError(f"{step.name}: {error}") from error
            except (Exception, SystemExit) as error:  # any exception of a third-party transform
                raise TrainingError(f"{step.name}: {type(error).__name__}: {error}") from error
            if len(batch[0]) != count:
                raise TrainingError(f"{step.name}: expected {count} rows, got {len(batch[0])}")
        return batch

    def check_input(self, want: Field) -> None:
        """Raise TrainingError for a model of another input format, with the format of each step."""
        if found := differences(self.output.x, want):
            raise TrainingError(f"the model takes {want}: {'; '.join(found)} ({self.describe()})")

    def describe(self) -> str:
        """Format what each step makes of x."""
        parts = [f"the data are {self.formats[0].x}"]
        for step, form in zip(self.steps, self.formats[1:], strict=True):
            parts.append(f"{step.name} makes {form.x}")
        return ", ".join(parts)


def _any_numbers(form: Format) -> Format:
    return replace(form, x=replace(form.x, normalized=False))


def _declared(step: PipelineStep, form: Format) -> Format:
    try:
        made = step.transform.transform_format(form)
    except FedbusError as error:
        raise TrainingError(f"{step.name}: {error}") from error
    except (Exception, SystemExit) as error:  # any exception of a third-party transform
        raise TrainingError(f"{step.name}: {type(error).__name__}: {error}") from error
    if not isinstance(made, Format):
        raise TrainingError(
            f"{step.name}: expected a Format of transform_format, got a {type(made).__name__}"
        )
    return made


def without_augmentations(steps: Sequence[PipelineStep]) -> list[PipelineStep]:
    """Return the steps that evaluation has too."""
    return [step for step in steps if not step.augments]
