"""An agent's data as they are now: loaded anew when they change, and as a job wants them read.

What is loaded is never changed: a task keeps what it began with, and the next one gets what is
there by then.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

from fedbus import plugins
from fedbus.data.dataset import Dataset
from fedbus.data.description import utf8
from fedbus.data.format import Field
from fedbus.data.model_input import read_input
from fedbus.datasource import job_overrides
from fedbus.datasource.config import DataConfig, LoadedData, load, prepare
from fedbus.datasource.fingerprint import fingerprint, quick_fingerprint
from fedbus.datasource.pipeline import Pipeline
from fedbus.errors import FedbusError, PluginError, TrainingError, WireError
from fedbus.training.params import DataOverrides


def wanted_row(stated: Mapping[str, Any]) -> Field | None:
    """Return the format of rows that a spec's `input` states; None: none that can be read."""
    try:
        return read_input(stated).row
    except WireError:
        return None


def checked_for(loaded: LoadedData, wants: Mapping[str, Any]) -> LoadedData:
    """Give data to a model that takes them; `wants` is its spec's `input`.

    Raises:
        TrainingError: the model takes others; names both formats and what each step makes.
    """
    want = wanted_row(wants)
    if want is not None:
        loaded.pipeline.check_input(want)
    return loaded


class InMemorySource:
    """Data that somebody made in this process, for a simulation, say: they never change."""

    def __init__(self, data: Dataset) -> None:
        self._recipe = DataConfig(path=Path())
        self._loaded = prepare(data, self._recipe)

    @property
    def now(self) -> LoadedData:
        """The data."""
        return self._loaded

    def check(self, wanted: DataOverrides | None) -> None:
        """Refuse what a job chooses.

        Raises:
            PluginError: it names a loader, which has nothing to read here, or what is not here.
        """
        if wanted is not None:
            if wanted.loader is not None:
                raise PluginError(
                    f"plugins.loader is {wanted.loader!r}; these data were made in this process, "
                    "and no loader reads them"
                )
            job_overrides.check(self._recipe, wanted)

    def expected(self, wanted: DataOverrides) -> Pipeline | None:
        """Say what rows will go through on their way to a trainer, if that is known now."""
        return job_overrides.expected(self._recipe, wanted, self._loaded.pipeline.forms[0])

    def for_task(self, wants: Mapping[str, Any], wanted: DataOverrides | None = None) -> LoadedData:
        """Give a task the data as its job `wanted` them, if its model takes them.

        `wants` is its spec's `input`.

        Raises:
            FedbusError: the model takes others, or the job's choice is wrong.
        """
        self.check(wanted)
        if wanted is None:
            return checked_for(self._loaded, wants)
        recipe = job_overrides.adapted(self._recipe, wanted)
        return checked_for(prepare(self._loaded.data, recipe), wants)


class DataSource:
    """An agent's data: what is loaded now, and whether that is still what is there.

    Raises:
        FedbusError: as for `load`.
    """

    def __init__(self, recipe: DataConfig) -> None:
        self.loads = 0
        """How often data were loaded anew, or could not be."""
        self._recipe = recipe
        self._seen = self._tried = quick_fingerprint(recipe.path)
        """What a look last saw, and what it would have seen when data were last loaded."""
        self._loaded = load(recipe)
        self._fault: tuple[str, str] | None = None
        """The stamp that could not be loaded, and why."""
        self._loading = Lock()  # a task and a look may both want what is new
        self._adapted: tuple[DataOverrides, LoadedData] | None = None
        """How the last task's job wanted them, if not as their owner has them."""

    @property
    def now(self) -> LoadedData:
        """What is loaded, be it still there or not."""
        return self._loaded

    @property
    def trouble(self) -> str:
        """Why what is there now cannot be used; "" is no trouble."""
        return "" if self._fault is None else self._fault[1]

    @property
    def notes(self) -> Sequence[str]:
        """What the loader left out or assumed of what is loaded."""
        return self._loaded.data.info.notes

    def look(self) -> bool:
        """Say whether there is something new to load; asked again and again, it must have settled.

        A file that is just being written has another stamp at every look. Of very many files a look
        notices less than the next task does: it must not take long.
        """
        before, self._seen = self._seen, quick_fingerprint(self._recipe.path)
        return self._seen == before and self._seen != self._tried

    def reload(self) -> None:
        """Load what is there now; if it cannot be, `trouble` says why until it is mended."""
        with self._loading:
            glimpsed, seen = quick_fingerprint(self._recipe.path), fingerprint(self._recipe.path)
            self._tried = glimpsed
            if seen == self._known():
                return  # a task was faster
            try:
                self._loaded = load(self._recipe)
                self._fault = None
            except FedbusError as error:
                self._fault = seen, utf8(str(error))
            self.loads += 1

    def loaders(self) -> tuple[str, ...]:
        """Name the loaders that a job may choose."""
        return job_overrides.loaders(self._recipe)

    def transforms(self) -> tuple[str, ...]:
        """Name the transforms that a job may choose."""
        return plugins.allowed_names("transforms", self._recipe.allowed)

    def check(self, wanted: DataOverrides | None) -> None:
        """Refuse what a job chooses and this agent has not, or does not allow.

        Raises:
            PluginError: with what there is, and what would allow it.
        """
        if wanted is not None:
            job_overrides.check(self._recipe, wanted)

    def expected(self, wanted: DataOverrides) -> Pipeline | None:
        """Say what rows will go through on their way to a trainer, if that is known now.

        Raises:
            FedbusError: a step does not take its parameters, or what the one before it makes.
        """
        return job_overrides.expected(self._recipe, wanted, self._loaded.pipeline.forms[0])

    def for_task(self, wants: Mapping[str, Any], wanted: DataOverrides | None = None) -> LoadedData:
        """Give a task what is there now as its job `wanted` it, if its model takes that.

        `wants` is its spec's `input`.

        Raises:
            FedbusError: the data cannot be loaded any more, the model takes others, or the job's
                choice is wrong.
        """
        if fingerprint(self._recipe.path) != self._known():
            self.reload()
        if self._fault is not None:
            raise TrainingError(f"the data changed and cannot be loaded: {self._fault[1]}")
        return checked_for(self._loaded if wanted is None else self._as(wanted), wants)

    def _as(self, wanted: DataOverrides) -> LoadedData:
        if self._adapted is not None:
            known, loaded = self._adapted
            if known == wanted and loaded.fingerprint == self._loaded.fingerprint:
                return loaded
        self._adapted = None  # two at once may be more than a small device holds
        self.check(wanted)
        recipe = job_overrides.adapted(self._recipe, wanted)
        if job_overrides.other_loader(self._recipe, wanted):
            loaded = load(recipe)
        else:
            loaded = prepare(self._loaded.data, recipe, self._loaded.fingerprint)
        self._adapted = wanted, loaded
        return loaded

    def _known(self) -> str:
        return self._loaded.fingerprint if self._fault is None else self._fault[0]
