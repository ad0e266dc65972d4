"""Transforms in their order, as aerOS lists them: `[{"id": …, "parameters": {…}}, …]`.

Each step changes the rows and the format they are declared in; after each step the rows are held
against the declaration, so that the step which is wrong is the one that is named.
"""

import inspect
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import numpy as np

from fedbus import plugins
from fedbus.data.dataset import Batch
from fedbus.data.format import Field, Format, check_batch, differences
from fedbus.data.json_or_file import named, read_json_or_file
from fedbus.errors import FedbusError, PluginError, TrainingError
from fedbus.jobs.faults import nearest
from fedbus.limits import MAX_TRANSFORMS
from fedbus.plugins.protocols import Transform
from fedbus.text import in_given_order

_NOT_NAMED: Final = {
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.VAR_POSITIONAL,
    inspect.Parameter.VAR_KEYWORD,
}


@dataclass(frozen=True, slots=True)
class Step:
    """One transform, and what errors call it: `transform 2 (resize)`."""

    name: str
    transform: Transform

    @property
    def augments(self) -> bool:
        """Whether it belongs to training only."""
        return bool(getattr(self.transform, "augments", False))


def read_steps(plain: object, allowed: Collection[str] | None = None) -> list[Step]:
    """Make the transforms of a list; `allowed` as for `fedbus.plugins.load`.

    Raises:
        TrainingError: it is no such list; the sentence says which step and why.
        PluginError: a transform is not installed, not allowed, or does not take its parameters.
    """
    if not isinstance(plain, list) or len(plain) > MAX_TRANSFORMS:
        raise TrainingError(f"a list of at most {MAX_TRANSFORMS} objects with id and parameters")
    return [_step(number, said, allowed) for number, said in enumerate(plain, 1)]


def read_pipeline(given: str | Path, allowed: Collection[str] | None = None) -> list[Step]:
    """Make the transforms of a JSON file, or of JSON itself.

    Raises:
        FedbusError: as for `read_steps`, or the file cannot be read; names the file.
    """
    plain = read_json_or_file(given)
    try:
        return read_steps(plain, allowed)
    except FedbusError as error:
        raise type(error)(f"{named(given)}{error}") from error


def _step(number: int, said: object, allowed: Collection[str] | None) -> Step:
    match said:
        case {"id": str(name), **rest} if rest.keys() <= {"parameters"}:
            parameters = rest.get("parameters", {})
        case _:
            raise TrainingError(f"transform {number} is {said!r}; id and parameters belong there")
    where = f"transform {number} ({name})"
    if not isinstance(parameters, dict):
        raise TrainingError(f"{where}: parameters is {parameters!r}, not an object")
    return Step(where, make_transform(where, name, parameters, allowed))


def make_transform(
    where: str, name: str, parameters: dict[str, Any], allowed: Collection[str] | None
) -> Transform:
    """Find a transform and make it with its parameters.

    Raises:
        PluginError: it is not installed, not allowed, or does not take its parameters.
    """
    try:
        factory: Any = plugins.load("transforms", name, allowed)
        check_call(factory, parameters)
        return cast("Transform", factory(**parameters))
    except FedbusError as error:
        raise type(error)(f"{where}: {error}") from error
    except TypeError as error:
        shown = ", ".join(f"{name}: {value!r}" for name, value in parameters.items())
        raise PluginError(f"{where}: {error}; its parameters are {shown or 'none'}") from error
    except (Exception, SystemExit) as error:  # whatever somebody's transform may raise
        raise PluginError(f"{where}: {type(error).__name__}: {error}") from error


def check_call(call: Any, given: dict[str, Any], *first: object) -> None:  # noqa: ANN401 - anybody's
    """Refuse arguments that a plug-in does not take, with those it takes.

    Raises:
        PluginError: names what is unknown, or missing.
    """
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
    """Steps for data of one format; each `forms[n]` is what is declared after n of them.

    Raises:
        TrainingError: a step cannot take what the one before it gives; says which.
    """

    def __init__(self, steps: Sequence[Step], form: Format) -> None:
        self.steps = tuple(steps)
        self.forms = [form]
        for step in self.steps:
            self.forms.append(_declared(step, self.forms[-1]))

    @property
    def output(self) -> Format:
        """What a trainer is given."""
        return self.forms[-1]

    @property
    def max_row_bytes(self) -> int:
        """Bytes of a row, truth included, where it takes most of them on its way."""
        return max(form.bytes for form in self.forms)

    def change(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """Take a batch through all steps; rows neither come nor go.

        Raises:
            TrainingError: a step fails, or gives something else than it declared; says which.
        """
        count = len(batch[0])
        for step, form in zip(self.steps, self.forms[1:], strict=True):
            try:
                batch = step.transform.transform_data(batch, rng)
                check_batch(batch, form)
            except FedbusError as error:
                raise TrainingError(f"{step.name}: {error}") from error
            except (Exception, SystemExit) as error:  # whatever somebody's transform may raise
                raise TrainingError(f"{step.name}: {type(error).__name__}: {error}") from error
            if len(batch[0]) != count:
                raise TrainingError(f"{step.name}: it made {len(batch[0])} rows of {count}")
        return batch

    def check_input(self, want: Field) -> None:
        """Refuse a model that takes something else than comes out.

        Raises:
            TrainingError: says in what, and what each step made of the data.
        """
        told = differences(self.output.x, want)
        if told:
            raise TrainingError(f"the model takes {want}: {'; '.join(told)} ({self.story()})")

    def story(self) -> str:
        """Tell what each step makes of x."""
        said = [f"the data are {self.forms[0].x}"]
        for step, form in zip(self.steps, self.forms[1:], strict=True):
            said.append(f"{step.name} makes {form.x}")
        return ", ".join(said)


def _declared(step: Step, form: Format) -> Format:
    try:
        made = step.transform.transform_format(form)
    except FedbusError as error:
        raise TrainingError(f"{step.name}: {error}") from error
    except (Exception, SystemExit) as error:  # whatever somebody's transform may raise
        raise TrainingError(f"{step.name}: {type(error).__name__}: {error}") from error
    if not isinstance(made, Format):
        raise TrainingError(f"{step.name}: its transform_format gives a {type(made).__name__}")
    return made


def without_augmentations(steps: Sequence[Step]) -> list[Step]:
    """Keep what evaluation needs as well."""
    return [step for step in steps if not step.augments]
