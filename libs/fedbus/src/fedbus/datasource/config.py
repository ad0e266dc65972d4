"""From a path to what a trainer is given: a loader, then the steps of two pipelines."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from fedbus import plugins
from fedbus.data.dataset import Dataset
from fedbus.data.format import Format, differences, format_of
from fedbus.datasource.fingerprint import fingerprint
from fedbus.datasource.pipeline import Pipeline, Step, check_call, without_augmentations
from fedbus.errors import FedbusError, PluginError, TrainingError

TRIED_BYTES: Final = 16 * 2**20
"""Of rows at their widest, as many as fit are tried before they are trained on; one at least."""

_SUFFIXES: Final = {".csv": "csv", ".npz": "npz", ".parquet": "parquet", ".pq": "parquet"}


class LoaderError(PluginError):
    """No such loader is installed, or it does not load."""


class OptionsError(PluginError):
    """A loader does not take the options it is given."""


def loader_for(path: Path) -> str:
    """Choose a loader by what a path looks like.

    Raises:
        TrainingError: its name says nothing, or there is nothing of that name.
    """
    if path.is_dir():
        arrays = any((path / f"x.{suffix}").exists() for suffix in ("npy", "dat"))
        return "memmap" if arrays else "images"
    loader = _SUFFIXES.get(path.suffix.lower())
    if loader is None:
        if not path.exists():
            raise TrainingError(f"{path}: no such file or folder")
        known = ", ".join(_SUFFIXES)
        raise TrainingError(f"{path}: no loader is known for it ({known}, a folder); name one")
    return loader


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """How to get from a path to what a trainer is given: an agent's own settings.

    Attributes:
        path: What the loader reads.
        loader: Its plug-in's name; without one, what the path looks like.
        options: The loader's own.
        steps: The pipeline in training.
        test_steps: The pipeline in evaluation; without one, that of training without augmentations.
        declared: What the owner says the data are, before any step; verified.
        allowed: What a job may choose among, as for `fedbus.plugins.load`; what is named here needs
            no other permission.
    """

    path: Path
    loader: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    steps: Sequence[Step] = ()
    test_steps: Sequence[Step] | None = None
    declared: Format | None = None
    allowed: Collection[str] | None = None

    @property
    def testing(self) -> Sequence[Step]:
        """The pipeline in evaluation."""
        chosen = self.test_steps
        return without_augmentations(self.steps) if chosen is None else chosen


@dataclass(frozen=True, slots=True)
class LoadedData:
    """A data set as it was at one time, for both uses.

    Attributes:
        data: The rows as their loader gives them.
        train: The rows in training.
        test: The rows in evaluation.
        pipeline: That of training.
        stamp: What `fingerprint` said of the path.
    """

    data: Dataset
    train: Dataset
    test: Dataset
    pipeline: Pipeline
    fingerprint: str

    @property
    def form(self) -> Format:
        """What a trainer is given."""
        return self.pipeline.output


def load(recipe: DataConfig) -> LoadedData:
    """Load data, and take the first rows through the pipelines.

    Raises:
        FedbusError: the data, the options or a step are wrong; the sentence says which.
    """
    seen = fingerprint(recipe.path)  # before it is read: what changes meanwhile is loaded again
    return prepare(read(recipe.path, recipe.loader, recipe.options), recipe, seen)


def prepare(data: Dataset, recipe: DataConfig, seen: str = "") -> LoadedData:
    """Put loaded data through the pipelines of a recipe; `seen` is their stamp.

    Raises:
        FedbusError: the data are not as declared, or a step is wrong; the sentence says which.
    """
    form = format_of(data)
    if recipe.declared is not None:
        check_declared(form, recipe.declared)
    training, testing = Pipeline(recipe.steps, form), Pipeline(recipe.testing, form)
    _check_same(training.output, testing.output)
    x, y = next(data.peek())
    for pipeline in (training, testing):
        few = max(1, TRIED_BYTES // max(1, pipeline.max_row_bytes))
        pipeline.change((x[:few], y[:few]), np.random.default_rng(0))
    return LoadedData(data, _through(data, training), _through(data, testing), training, seen)


def read(
    path: Path, loader: str | None = None, options: Mapping[str, Any] | None = None
) -> Dataset:
    """Read a data set with a loader plug-in.

    Raises:
        FedbusError: there is no such loader, it takes no such options, or cannot read it.
    """
    name = loader if loader is not None else loader_for(path)
    given = dict(options or {})
    try:
        call: Any = plugins.load("loaders", name)
    except PluginError as error:
        raise LoaderError(str(error)) from error
    try:
        check_call(call, given, str(path))
    except PluginError as error:
        raise OptionsError(f"loader {name}: {error}") from error
    try:
        made = call(str(path), **given)
    except PluginError as error:
        raise PluginError(f"loader {name}: {error}") from error
    except FedbusError:
        raise
    except (Exception, SystemExit) as error:  # whatever somebody's loader may raise
        raise PluginError(f"loader {name}: {path}: {type(error).__name__}: {error}") from error
    if not isinstance(made, Dataset):
        raise PluginError(f"loader {name}: it returned a {type(made).__name__}, no fedbus.Dataset")
    return made


def check_declared(form: Format, declared: Format) -> None:
    """Refuse data that are not what their owner says.

    Raises:
        TrainingError: says in what.
    """
    for name, have, want in (("x", form.x, declared.x), ("y", form.y, declared.y)):
        if told := differences(have, want):
            raise TrainingError(f"{name} is not as it is declared: {'; '.join(told)}")


def _check_same(training: Format, testing: Format) -> None:
    for name, one, other in (
        ("x", training.x, testing.x),
        ("y", training.y, testing.y),
    ):
        if (one.kind, one.size, one.dtype) != (other.kind, other.size, other.dtype):
            raise TrainingError(f"{name} is {one} in training and {other} in evaluation")


def _through(data: Dataset, pipeline: Pipeline) -> Dataset:
    return data.changed(pipeline.change) if pipeline.steps else data
