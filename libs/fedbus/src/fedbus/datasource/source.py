"""Data source of an agent: reloaded when the data change on disk, and read as a job chooses.

Loaded data are never modified: a task keeps the data that it started with, and the next task gets
the newer ones.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

from fedbus import plugins
from fedbus.data.dataset import Dataset
from fedbus.data.description import utf8
from fedbus.data.format import Field
from fedbus.data.model_input import read_inputs
from fedbus.datasource import job_overrides
from fedbus.datasource.config import DataConfig, LoadedData, load, prepare
from fedbus.datasource.fingerprint import fingerprint, quick_fingerprint
from fedbus.datasource.pipeline import Pipeline
from fedbus.errors import FedbusError, PluginError, TrainingError, WireError
from fedbus.training.params import DataOverrides


def wanted_row(stated: Mapping[str, Any]) -> Field | None:
    """Return the row format that a spec's `input` states; None: it states none that can be read."""
    try:
        inputs = list(read_inputs(stated).values())
    except WireError:
        return None
    return inputs[0].row if len(inputs) == 1 else None


def for_model(loaded: LoadedData, wants: Mapping[str, Any]) -> LoadedData:
    """Return the data if a model takes them; `wants` is the `input` of its spec.

    Raises:
        TrainingError: the model takes another format; the message names both, and all steps.
    """
    want = wanted_row(wants)
    if want is not None:
        loaded.pipeline.check_input(want)
    return loaded


class _Source:
    """Loaded data, and the configuration that they were loaded with."""

    _config: DataConfig
    _loaded: LoadedData

    @property
    def now(self) -> LoadedData:
        """The loaded data, even if the file is gone."""
        return self._loaded

    def expected_pipeline(self, wanted: DataOverrides) -> Pipeline | None:
        """Return the pipeline of a job, if it is known without reading or importing anything.

        Raises:
            FedbusError: a step does not take its parameters, or the output of the one before.
        """
        return job_overrides.expected_pipeline(
            self._config, wanted, self._loaded.pipeline.formats[0]
        )


class InMemorySource(_Source):
    """Data from memory, as in a simulation: they never change."""

    def __init__(self, data: Dataset) -> None:
        self._config = DataConfig(path=Path())
        self._loaded = prepare(data, self._config)

    def check(self, wanted: DataOverrides | None) -> None:
        """Raise PluginError for a choice of loader, or transforms not installed or allowed."""
        if wanted is not None:
            if wanted.loader is not None:
                raise PluginError(
                    f"plugins.loader is {wanted.loader!r}, but these data are in memory, and no "
                    "loader reads them"
                )
            job_overrides.check(self._config, wanted)

    def for_task(self, wants: Mapping[str, Any], wanted: DataOverrides | None = None) -> LoadedData:
        """Return the data for a task.

        Args:
            wants: The `input` of the model's spec.
            wanted: The job's choice of transforms.

        Raises:
            FedbusError: the model takes another format, or the job's choice is wrong.
        """
        self.check(wanted)
        if wanted is None:
            return for_model(self._loaded, wants)
        config = job_overrides.with_overrides(self._config, wanted)
        return for_model(prepare(self._loaded.data, config), wants)


class DataSource(_Source):
    """Data on disk: the loaded data, and whether they have changed since.

    Raises:
        FedbusError: as for `load`.
    """

    def __init__(self, config: DataConfig) -> None:
        self.loads = 0
        """Number of reloads, failed ones included."""
        self._config = config
        self._checked = self._loaded_quick = quick_fingerprint(config.path)
        """Quick fingerprints: at the last check, and at the last load."""
        self._loaded = load(config)
        self._fault: tuple[str, str] | None = None
        """Fingerprint of data that could not be loaded, and the reason."""
        self._loading = Lock()  # a task and the periodic check may reload at the same time
        self._adapted: tuple[DataOverrides, LoadedData] | None = None
        """The choice of the last task's job, and the data loaded for it."""

    @property
    def trouble(self) -> str:
        """Why the present data on disk cannot be used; "" if they can."""
        return "" if self._fault is None else self._fault[1]

    @property
    def notes(self) -> Sequence[str]:
        """What the loader left out or assumed."""
        return self._loaded.data.info.notes

    def has_settled_change(self) -> bool:
        """Return whether the data have changed since the last load, and not since the last call.

        Call it periodically: a file that is being written differs at every call. Of very many files
        it notices less than the next task does, since it must be fast (`quick_fingerprint`).
        """
        before, self._checked = self._checked, quick_fingerprint(self._config.path)
        return self._checked == before and self._checked != self._loaded_quick

    def reload(self) -> None:
        """Load the present data; if that fails, `trouble` gives the reason from then on."""
        with self._loading:
            self._loaded_quick = quick_fingerprint(self._config.path)
            found = fingerprint(self._config.path)
            if found == self._known():
                return  # a task has reloaded them
            try:
                self._loaded = load(self._config)
                self._fault = None
            except FedbusError as error:
                self._fault = found, utf8(str(error))
            self.loads += 1

    def loaders(self) -> tuple[str, ...]:
        """List the loaders that a job may choose."""
        return job_overrides.loaders(self._config)

    def transforms(self) -> tuple[str, ...]:
        """List the transforms that a job may choose."""
        return plugins.allowed_names("transforms", self._config.allowed)

    def check(self, wanted: DataOverrides | None) -> None:
        """Raise PluginError for a job's plug-ins that are not installed or not allowed."""
        if wanted is not None:
            job_overrides.check(self._config, wanted)

    def for_task(self, wants: Mapping[str, Any], wanted: DataOverrides | None = None) -> LoadedData:
        """Return the present data for a task, reloaded if they have changed.

        Args:
            wants: The `input` of the model's spec.
            wanted: The job's choice of loader and transforms.

        Raises:
            FedbusError: the data cannot be loaded any more, the model takes another format, or the
                job's choice is wrong.
        """
        if fingerprint(self._config.path) != self._known():
            self.reload()
        if self._fault is not None:
            raise TrainingError(f"the data changed and cannot be loaded: {self._fault[1]}")
        return for_model(self._loaded if wanted is None else self._load_as(wanted), wants)

    def _load_as(self, wanted: DataOverrides) -> LoadedData:
        if self._adapted is not None:
            known, loaded = self._adapted
            if known == wanted and loaded.fingerprint == self._loaded.fingerprint:
                return loaded
        self._adapted = None  # frees memory: a small device may not hold both
        self.check(wanted)
        config = job_overrides.with_overrides(self._config, wanted)
        if job_overrides.other_loader(self._config, wanted):
            loaded = load(config)
        else:
            loaded = prepare(self._loaded.data, config, self._loaded.fingerprint)
        self._adapted = wanted, loaded
        return loaded

    def _known(self) -> str:
        return self._loaded.fingerprint if self._fault is None else self._fault[0]
