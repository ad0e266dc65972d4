"""Where an agent's data come from: a path, a loader, pipelines; loaded anew when they change.

What is loaded is never changed: a task keeps what it began with, and the next one gets what is
there by then.
"""

import stat
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Any, Final

import numpy as np

from fedbus import plugins
from fedbus.data.dataset import Dataset
from fedbus.data.format import Field, Format, Kind, differences, format_of, read_field
from fedbus.data.pipeline import Pipeline, Step, check_call, without_augmentations
from fedbus.digests import digest_of
from fedbus.errors import FedbusError, PluginError, TrainingError

MAX_STATS: Final = 1000
"""Files of a folder that are looked at one by one; of a larger one only its folders are."""

_SUFFIXES: Final = {".csv": "csv", ".npz": "npz", ".parquet": "parquet", ".pq": "parquet"}


def loader_for(path: Path) -> str:
    """Choose a loader by what a path looks like.

    Raises:
        TrainingError: its name says nothing.
    """
    if path.is_dir():
        arrays = any((path / f"x.{suffix}").exists() for suffix in ("npy", "dat"))
        return "memmap" if arrays else "images"
    loader = _SUFFIXES.get(path.suffix.lower())
    if loader is None:
        known = ", ".join(_SUFFIXES)
        raise TrainingError(f"{path}: no loader is known for it ({known}, a folder); name one")
    return loader


def stamp(path: Path) -> str:
    """Name the state of a file or folder without reading it; "" is nothing there.

    Of a folder with more than `MAX_STATS` files only its folders count: what is added, removed or
    renamed is noticed, a file that is written into is not.
    """
    try:
        facts = [f"{entry} {_facts(entry)}" for entry in _entries(path)]
    except OSError:
        return ""
    return digest_of("\n".join(sorted(facts)).encode())


def _entries(path: Path) -> Iterator[Path]:
    yield path
    if path.is_dir():
        found = list(islice(path.glob("*"), MAX_STATS + 1))
        folders = [entry for entry in found if entry.is_dir()]
        yield from folders
        files = [entry for entry in found if not entry.is_dir()]
        for folder in folders:
            files += islice(folder.iterdir(), max(0, MAX_STATS + 1 - len(files)))
        if len(files) <= MAX_STATS:
            yield from files


def _facts(path: Path) -> str:
    seen = path.stat()
    size = 0 if stat.S_ISDIR(seen.st_mode) else seen.st_size
    return f"{seen.st_ino} {size} {seen.st_mtime_ns}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How to get from a path to what a trainer is given: an agent's own settings.

    Attributes:
        path: What the loader reads.
        loader: Its plug-in's name; without one, what the path looks like.
        options: The loader's own.
        steps: The pipeline in training.
        test_steps: The pipeline in evaluation; without one, that of training without augmentations.
        declared: What the owner says the data are, before any step; verified.
        allowed: As for `fedbus.plugins.load`.
    """

    path: Path
    loader: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    steps: Sequence[Step] = ()
    test_steps: Sequence[Step] | None = None
    declared: Format | None = None
    allowed: Collection[str] | None = None


@dataclass(frozen=True, slots=True)
class Loaded:
    """A data set as it was at one time, for both uses."""

    train: Dataset
    test: Dataset
    pipeline: Pipeline
    stamp: str

    @property
    def form(self) -> Format:
        """What a trainer is given."""
        return self.pipeline.output


def load(recipe: Recipe) -> Loaded:
    """Load data, and take the first batch through the pipelines.

    Raises:
        FedbusError: the data, the options or a step are wrong; the sentence says which.
    """
    seen = stamp(recipe.path)  # before it is read: what changes meanwhile is loaded again
    data = read(recipe.path, recipe.loader, recipe.options, recipe.allowed)
    form = format_of(data)
    if recipe.declared is not None:
        check_declared(form, recipe.declared)
    training = Pipeline(recipe.steps, form)
    steps = recipe.test_steps
    if steps is None:
        steps = without_augmentations(recipe.steps)
    testing = Pipeline(steps, form)
    _check_same(training.output, testing.output)
    first = next(data.peek())
    for pipeline in (training, testing):
        pipeline.change(first, np.random.default_rng(0))
    return Loaded(_through(data, training), _through(data, testing), training, seen)


def read(
    path: Path,
    loader: str | None = None,
    options: Mapping[str, Any] | None = None,
    allowed: Collection[str] | None = None,
) -> Dataset:
    """Read a data set with a loader plug-in.

    Raises:
        FedbusError: there is no such loader, it takes no such options, or cannot read it.
    """
    name = loader if loader is not None else loader_for(path)
    call: Any = plugins.load("loaders", name, allowed)
    given = dict(options or {})
    try:
        check_call(call, given, str(path))
        made = call(str(path), **given)
    except PluginError as error:
        raise PluginError(f"loader {name}: {error}") from error
    except FedbusError:
        raise
    except Exception as error:  # whatever somebody's loader may raise
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


def wanted_input(said: Mapping[str, Any]) -> Field | None:
    """Read a model card's `input`; None: it does not say, or in words we do not know."""
    match said.get("x", said):
        case {"shape": [*shape], **rest}:
            if not all(type(n) is int and n > 0 for n in shape):
                return None
            kind: Kind = "image" if len(shape) == 3 else "numerical"  # noqa: PLR2004 - as describe has it
            return Field(kind=kind, size=tuple(shape), dtype=str(rest.get("dtype", "")))
        case {"data_types": _} as field_said:
            try:
                return read_field("input", field_said)
            except TrainingError:
                return None
        case _:
            return None


def _check_same(training: Format, testing: Format) -> None:
    for name, one, other in (
        ("x", training.x, testing.x),
        ("y", training.y, testing.y),
    ):
        if (one.kind, one.size, one.dtype) != (other.kind, other.size, other.dtype):
            raise TrainingError(f"{name} is {one} in training and {other} in evaluation")


def _through(data: Dataset, pipeline: Pipeline) -> Dataset:
    return data.changed(pipeline.change) if pipeline.steps else data


def fitting(loaded: Loaded, wants: Mapping[str, Any]) -> Loaded:
    """Give data to a model that takes them; `wants` is its card's `input`.

    Raises:
        TrainingError: the model takes others; names both formats and what each step makes.
    """
    want = wanted_input(wants)
    if want is not None:
        loaded.pipeline.check_input(want)
    return loaded


class Fixed:
    """Data that somebody made in this process, for a simulation, say: they never change."""

    def __init__(self, data: Dataset) -> None:
        self._data = data

    def fresh(self, wants: Mapping[str, Any]) -> Loaded:
        """Give a task the data, if its model takes them; `wants` is its card's `input`.

        Raises:
            TrainingError: the model takes others.
        """
        pipeline = Pipeline((), format_of(self._data))
        return fitting(Loaded(self._data, self._data, pipeline, ""), wants)


class Source:
    """An agent's data: what is loaded now, and whether that is still what is there.

    Raises:
        FedbusError: as for `load`.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._loaded = load(recipe)
        self._seen = self._loaded.stamp
        self._fault: tuple[str, str] | None = None
        """The stamp that could not be loaded, and why."""
        self._loading = Lock()  # a task and a look may both want what is new

    @property
    def now(self) -> Loaded:
        """What is loaded, be it still there or not."""
        return self._loaded

    @property
    def trouble(self) -> str:
        """Why what is there now cannot be used; "" is no trouble."""
        return "" if self._fault is None else self._fault[1]

    def look(self) -> bool:
        """Say whether there is something new to load; asked again and again, it must have settled.

        A file that is just being written has another stamp at every look.
        """
        before, self._seen = self._seen, stamp(self._recipe.path)
        return self._seen == before and self._seen != self._known()

    def reload(self) -> None:
        """Load what is there now; if it cannot be, `trouble` says why until it is mended."""
        with self._loading:
            seen = stamp(self._recipe.path)
            if seen == self._known():
                return  # a task was faster
            try:
                self._loaded = load(self._recipe)
                self._fault = None
            except FedbusError as error:
                self._fault = seen, str(error)

    def fresh(self, wants: Mapping[str, Any]) -> Loaded:
        """Give a task what is there now, if its model takes that; `wants` is its card's `input`.

        Raises:
            TrainingError: the data cannot be loaded any more, or the model takes others.
        """
        if stamp(self._recipe.path) != self._known():
            self.reload()
        if self._fault is not None:
            raise TrainingError(f"the data changed and cannot be loaded: {self._fault[1]}")
        return fitting(self._loaded, wants)

    def _known(self) -> str:
        return self._loaded.stamp if self._fault is None else self._fault[0]
