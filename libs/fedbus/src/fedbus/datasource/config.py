"""Data configuration of an agent, and the loading of its data: a loader, then two pipelines."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from fedbus import plugins
from fedbus.data.dataset import Dataset
from fedbus.data.format import Format, differences, format_of
from fedbus.datasource.fingerprint import fingerprint
from fedbus.datasource.pipeline import Pipeline, PipelineStep, check_call, without_augmentations
from fedbus.errors import FedbusError, PluginError, TrainingError

TRIAL_BYTES: Final = 16 * 2**20
"""Memory for the rows that try a pipeline before training; at least one row is tried."""

_SUFFIXES: Final = {".csv": "csv", ".npz": "npz", ".parquet": "parquet", ".pq": "parquet"}


class LoaderError(PluginError):
    """The loader is not installed, or its import fails."""


class OptionsError(PluginError):
    """A loader does not accept its options."""


def loader_for(path: Path) -> str:
    """Return a path's loader, by suffix or the folder's files; raise TrainingError if unknown."""
    if path.is_dir():
        arrays = any((path / f"x.{suffix}").exists() for suffix in ("npy", "dat"))
        return "memmap" if arrays else "images"
    loader = _SUFFIXES.get(path.suffix.lower())
    if loader is None:
        if not path.exists():
            raise TrainingError(f"{path}: no such file or folder")
        known = ", ".join(_SUFFIXES)
        raise TrainingError(
            f"{path}: no loader is known for it ({known}, a folder); set FEDBUS_LOADER"
        )
    return loader


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """An agent's data settings: path, loader and pipelines.

    Attributes:
        path: The file or folder that the loader reads.
        loader: Name of the loader plug-in; None: the one that fits the path.
        test_steps: The pipeline in evaluation; None: that of training without augmentations.
        declared: The format that the owner declares, before any step; the data are checked.
        allowed: Plug-ins that a job may choose, as for `fedbus.plugins.load`. The plug-ins of this
            configuration need no permission.
    """

    path: Path
    loader: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    steps: Sequence[PipelineStep] = ()
    test_steps: Sequence[PipelineStep] | None = None
    declared: Format | None = None
    allowed: Collection[str] | None = None

    @property
    def testing(self) -> Sequence[PipelineStep]:
        """The pipeline in evaluation."""
        if self.test_steps is None:
            return without_augmentations(self.steps)
        return self.test_steps


@dataclass(frozen=True, slots=True)
class LoadedData:
    """A data set as it was when it was loaded.

    Attributes:
        fingerprint: Fingerprint of the path before it was read.
    """

    data: Dataset
    train: Dataset
    test: Dataset
    pipeline: Pipeline
    fingerprint: str

    @property
    def form(self) -> Format:
        """Format of the rows that a trainer gets."""
        return self.pipeline.output


def load(config: DataConfig) -> LoadedData:
    """Load data, and try the pipelines on the first rows.

    Raises:
        FedbusError: the data, an option or a step are wrong; the message names it.
    """
    # Before reading: data that change meanwhile are then loaded again.
    before = fingerprint(config.path)
    return prepare(read(config.path, config.loader, config.options), config, before)


def prepare(data: Dataset, config: DataConfig, loaded_fingerprint: str = "") -> LoadedData:
    """Make the pipelines of loaded data, and try them on the first rows.

    Raises:
        FedbusError: the data are not as declared, or a step is wrong; the message says which.
    """
    form = format_of(data)
    if config.declared is not None:
        check_declared(form, config.declared)
    training, testing = Pipeline(config.steps, form), Pipeline(config.testing, form)
    _check_same(training.output, testing.output)
    x, y = next(data.peek())
    for pipeline in (training, testing):
        few = max(1, TRIAL_BYTES // max(1, pipeline.max_row_bytes))
        pipeline.apply((x[:few], y[:few]), np.random.default_rng(0))
    return LoadedData(
        data, _through(data, training), _through(data, testing), training, loaded_fingerprint
    )


def read(
    path: Path, loader: str | None = None, options: Mapping[str, Any] | None = None
) -> Dataset:
    """Read a data set with a loader plug-in.

    Raises:
        FedbusError: the loader is not installed, does not take an option, or cannot read the path.
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
    except (Exception, SystemExit) as error:  # any exception of a third-party loader
        raise PluginError(f"loader {name}: {path}: {type(error).__name__}: {error}") from error
    if not isinstance(made, Dataset):
        raise PluginError(f"loader {name}: expected a fedbus.Dataset, got a {type(made).__name__}")
    return made


def check_declared(form: Format, declared: Format) -> None:
    """Raise TrainingError for data that differ from the declared format, with the differences."""
    for name, have, want in (("x", form.x, declared.x), ("y", form.y, declared.y)):
        if found := differences(have, want):
            raise TrainingError(f"{name} is not as declared: {'; '.join(found)}")


def _check_same(training: Format, testing: Format) -> None:
    for name, one, other in (
        ("x", training.x, testing.x),
        ("y", training.y, testing.y),
    ):
        if (one.kind, one.size, one.dtype) != (other.kind, other.size, other.dtype):
            raise TrainingError(f"{name} is {one} in training and {other} in evaluation")


def _through(data: Dataset, pipeline: Pipeline) -> Dataset:
    return data.transformed(pipeline.apply) if pipeline.steps else data
