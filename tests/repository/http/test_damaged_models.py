"""Lists over HTTP beside a model whose records were edited into nonsense: the others are listed."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

pytest.importorskip("aiohttp")

from fedbus.wire.messages import PromoteVersion
from tests.repository.harness import (
    FILE,
    JOB,
    MODEL,
    begin,
    commit_next,
    push,
    push_of,
    put,
    spec,
    weights,
)
from tests.repository.http.repository_service import repository_service, store_in

OTHER = "faces"
NEWEST = "UPDATE versions SET metrics = 'x' WHERE version = 3"
NAMES = "UPDATE name_changes SET change = x'00' WHERE model = 'digits'"


def fill(folder: Path) -> None:
    """Make three versions of a model, the second by a job, and one of another; both are named."""
    store = store_in(folder)
    push(store, 0.0)
    begin(store)
    commit_next(store, 1.0)
    assert store.end_job(0, JOB, "finished", "") is not None
    again = push_of(put(store, spec()), put(store, weights(2.0)), reset=True)
    store.push(again, (put(store, FILE),))
    push(store, 3.0, OTHER)
    begin(store, "other", OTHER)
    for model, version in ((MODEL, 2), (OTHER, 1)):
        store.promote(PromoteVersion(model=model, alias="production", version=version), "user.a")
    store.close()


@pytest.mark.parametrize("edit", [NEWEST, NAMES])
async def test_a_damaged_model_is_left_out_of_lists(tmp_path: Path, edit: str) -> None:
    """Of files and drafts; of versions, where it is the newest. Results of its jobs are listed."""
    fill(tmp_path)
    async with repository_service(tmp_path) as service:
        for model in (MODEL, OTHER):
            draft = json.loads(spec(model=model))
            assert (await service.ask("POST", "/model", json=draft))[0] == 201
        with closing(sqlite3.connect(next(service.data.glob("*.db")))) as db:
            assert db.execute(edit).rowcount == 1
            db.commit()
        status, found = await service.ask("GET", "/models/available")
        assert (status, [each["filename"] for each in found]) == (200, [f"model/{OTHER}/1"])
        status, found = await service.ask("GET", "/model")
        listed = [(each["model_name"], each["model_version"]) for each in found]
        newest = [(MODEL, "3")] if edit == NAMES else []
        assert (status, listed) == (200, [*newest, (OTHER, "1"), (OTHER, "2")])
        status, found = await service.ask("GET", "/training-results")
        assert (status, [each["training_id"] for each in found]) == (200, [JOB, "other"])
        assert (await service.ask("GET", f"/model/{MODEL}/4"))[0] == 500


async def test_a_job_that_cannot_be_read_hides_the_results_of_its_model_alone(
    tmp_path: Path,
) -> None:
    """A list goes on with the next model."""
    fill(tmp_path)
    async with repository_service(tmp_path) as service:
        with closing(sqlite3.connect(next(service.data.glob("*.db")))) as db:
            assert db.execute("UPDATE jobs SET base = 99 WHERE model = 'digits'").rowcount == 1
            db.commit()
        status, found = await service.ask("GET", "/training-results")
        assert (status, [each["training_id"] for each in found]) == (200, ["other"])
