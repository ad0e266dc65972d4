"""A job's choice of loader and transforms, within what the owner allows."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedbus.data import from_arrays
from fedbus.datasource.config import DataConfig
from fedbus.datasource.pipeline import read_steps
from fedbus.datasource.source import DataSource, InMemorySource
from fedbus.errors import FedbusError
from fedbus.training.params import DataOverrides, PluginChoice
from tests.plugin_package import Install

HALVES = [{"id": "normalize", "parameters": {"high": 2}}]
OWN = """
import numpy as np
from fedbus.data import from_arrays

def own(path):
    read.append(path)
    rows = np.load(path)["x"]
    return from_arrays(rows[:2], np.zeros(2, np.int64))

class Twice:
    def transform_data(self, batch, rng):
        return batch[0] * 2, batch[1]
    def transform_format(self, form):
        return form

read = []
"""
ENTRIES = "[fedbus.loaders]\nown = acme_own:own\n[fedbus.transforms]\ntwice = acme_own:Twice"


def step(name: str, **parameters: Any) -> PluginChoice:  # noqa: ANN401 - whatever a step takes
    """Choose a transform."""
    return PluginChoice(id=name, parameters=parameters)


def source(folder: Path, allowed: Collection[str] | None = (), **settings: Any) -> DataSource:  # noqa: ANN401 - a recipe's
    """Make a source of six rows of four ones, halved by its own pipeline."""
    path = folder / "a.npz"
    if not path.exists():
        np.savez(path, x=np.ones((6, 4), np.float32), y=np.arange(6) % 2)
    steps = read_steps(HALVES)
    return DataSource(DataConfig(path=path, steps=steps, allowed=allowed, **settings))


def refusal(data: DataSource | InMemorySource, wanted: DataOverrides) -> str:
    """Return why a job's choice is rejected; no data are read."""
    with pytest.raises(FedbusError) as error:
        data.check(wanted)
    return str(error.value)


def test_a_jobs_transforms_follow_the_owners(tmp_path: Path) -> None:
    """What the owner's pipeline does to the rows, no job can undo; the next job finds it as was."""
    data = source(tmp_path)
    wanted = DataOverrides(
        transforms=(step("reshape", size=(2, 2, 1)), step("resize", size=(4, 4)))
    )
    data.check(wanted)
    loaded = data.for_task({"shape": [4, 4, 1]}, wanted)
    rows, _ = next(loaded.train.peek())
    assert (rows.shape, rows.max()) == ((6, 4, 4, 1), 0.5)
    expected = data.expected_pipeline(wanted)
    assert expected is not None
    assert expected.output == loaded.form
    assert expected.output.x.size == (4, 4, 1)
    assert data.for_task({"shape": [4]}) is data.now


def test_what_a_job_augments_is_for_training_only(tmp_path: Path) -> None:
    """As in a pipeline of the owner's."""
    loaded = source(tmp_path).for_task({}, DataOverrides(transforms=(step("noise", std=1.0),)))
    assert np.ptp(next(loaded.train.peek())[0]) > 0
    assert np.ptp(next(loaded.test.peek())[0]) == 0


def test_a_model_that_takes_other_rows_is_told_whose_step_made_them(tmp_path: Path) -> None:
    """The owner's steps and the job's are told apart."""
    wanted = DataOverrides(transforms=(step("reshape", size=(2, 2, 1)),))
    with pytest.raises(FedbusError) as error:
        source(tmp_path).for_task({"shape": [8, 8, 1]}, wanted)
    said = str(error.value)
    assert "transform 1 (normalize) makes numerical 4 float32" in said
    assert (
        "plugins.transforms[0] (reshape) makes image 2 x 2 x 1 (height, width, channels) float32"
        in said
    )


def test_a_step_that_does_not_fit_is_named_by_its_place_in_the_job(tmp_path: Path) -> None:
    """Before anything is read, where it is ours."""
    data = source(tmp_path)
    for fault, wanted in [
        ("plugins.transforms[0] (reshape): numerical 4", step("reshape", size=(5,))),
        (
            "plugins.transforms[0] (resize): size is [4]: expected 2 whole",
            step("resize", size=(4,)),
        ),
        ("plugins.transforms[0] (cast): missing a required argument: 'dtype'", step("cast")),
    ]:
        with pytest.raises(FedbusError) as error:
            data.expected_pipeline(DataOverrides(transforms=(wanted,)))
        assert str(error.value).startswith(fault)


def test_a_job_is_refused_what_is_not_here_or_not_allowed(tmp_path: Path, install: Install) -> None:
    """With the setting that would allow it."""
    install("acme_own", ENTRIES, OWN)
    data = source(tmp_path)
    said = refusal(data, DataOverrides(transforms=(step("twice"),)))
    assert "'twice' of acme_own is not allowed here" in said
    assert "FEDBUS_PLUGINS=twice" in said
    assert "no transforms plug-in named 'none'" in refusal(
        data, DataOverrides(transforms=(step("none"),))
    )
    assert "FEDBUS_PLUGINS=own" in refusal(data, DataOverrides(loader="own"))
    with pytest.raises(FedbusError, match="not allowed here"):
        data.for_task({}, DataOverrides(loader="own"))


def test_a_loader_of_others_is_chosen_where_it_is_allowed(tmp_path: Path, install: Install) -> None:
    """It reads the owner's path, without the options of another loader, and once for many tasks."""
    install("acme_own", ENTRIES, OWN)
    data = source(tmp_path, ["acme-own"], options={"batch": 3})
    wanted = DataOverrides(loader="own", transforms=(step("twice"),))
    data.check(wanted)
    assert data.expected_pipeline(wanted) is None
    loaded = data.for_task({}, wanted)
    assert (loaded.train.examples, next(loaded.train.peek())[0].max()) == (2, 1.0)
    assert data.for_task({}, wanted) is loaded
    assert data.for_task({}, DataOverrides(loader="npz")).train.examples == 6
    import acme_own  # type: ignore[import-not-found]

    assert acme_own.read == [str(tmp_path / "a.npz")]
    np.savez(tmp_path / "a.npz", x=np.zeros((3, 4), np.float32), y=np.arange(3) % 2)
    assert next(data.for_task({}, wanted).train.peek())[0].max() == 0.0


def test_another_loader_must_be_named_even_one_of_ours(tmp_path: Path) -> None:
    """The owner's may leave out columns that no job should read."""
    for own in ("npz", None):
        data = source(tmp_path, loader=own)
        data.check(DataOverrides(loader="npz"))
        said = refusal(data, DataOverrides(loader="csv"))
        assert said.startswith("loader 'csv' is not allowed here, where 'npz' reads the data")
        assert "FEDBUS_PLUGINS=csv" in said
        both = source(tmp_path, ["csv"], loader=own)
        both.check(DataOverrides(loader="csv"))
        assert (data.loaders(), both.loaders()) == (("npz",), ("csv", "npz"))
    assert "cast" in data.transforms()


def test_another_loader_reads_no_more_rows_at_once_than_the_owner_lets_it(
    tmp_path: Path, install: Install
) -> None:
    """All other options are the owner's loader's."""
    less = "from fedbus.data import npz\ndef less(path, batch=256): return npz(path, batch)"
    install("acme_less", "[fedbus.loaders]\nless = acme_less:less", less)
    data = source(tmp_path, ["less"], options={"batch": 2})
    assert len(next(data.for_task({}, DataOverrides(loader="less")).train.peek())[0]) == 2


def test_rows_are_as_wide_as_at_their_widest(tmp_path: Path) -> None:
    """However small they are at the end."""
    steps = (("reshape", (2, 2, 1)), ("resize", (300, 200)), ("resize", (2, 2)))
    wanted = DataOverrides(transforms=tuple(step(name, size=size) for name, size in steps))
    pipeline = source(tmp_path).expected_pipeline(wanted)
    assert pipeline is not None
    assert pipeline.max_row_bytes == 300 * 200 * 4 + 8
    assert pipeline.output.bytes == 4 * 4 + 8


def test_data_of_a_simulation_go_through_a_jobs_transforms_and_no_loader() -> None:
    """They were read before it began."""
    data = InMemorySource(from_arrays(np.ones((4, 4), np.float32), np.zeros(4, np.int64)))
    wanted = DataOverrides(transforms=(step("reshape", size=(2, 2)),))
    data.check(None)
    expected = data.expected_pipeline(wanted)
    assert expected is not None
    assert expected.output.x.size == (2, 2)
    assert next(data.for_task({}, wanted).train.peek())[0].shape == (4, 2, 2)
    assert "no loader reads them" in refusal(data, DataOverrides(loader="npz"))
