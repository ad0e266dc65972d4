"""Results of trainings over HTTP: ASSIST-IoT's paths and status codes."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

pytest.importorskip("aiohttp")

from fedbus.digest import digest_of
from tests.repository.harness import (
    JOB,
    MODEL,
    PRIVATE,
    begin,
    commit_next,
    commit_private,
    push,
    weights,
)
from tests.repository.http.repository_service import (
    RepositoryService,
    form_of,
    repository_service,
    store_in,
)

RESULT = {
    "model_name": "digits",
    "model_version": "base2",
    "training_id": "t-1",
    "configuration_id": "7",
    "results": {"rounds": 3, "final_loss": 0.2, "accuracy": 0.9},
}
PLACE = "/training-results/digits/base2/t-1"
WEIGHTS = b"what a training led to"


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[RepositoryService]:
    """Serve an empty repository."""
    async with repository_service(tmp_path) as found:
        yield found


async def test_a_result_is_stored_with_its_weights_and_deleted(service: RepositoryService) -> None:
    """201, 400 for a duplicate, 204, 404."""
    assert (await service.ask("PUT", f"{PLACE}/7", data=WEIGHTS))[0] == 404
    status, body = await service.ask("POST", "/training-results", json=RESULT)
    assert (status, body["weights_id"]) == (201, None)
    assert (await service.ask("POST", "/training-results", json=RESULT))[0] == 400
    await service.ask("POST", "/training-results", json={**RESULT, "training_id": "t-2"})
    other = {**RESULT, "model_version": "base21", "training_id": "t-3"}
    await service.ask("POST", "/training-results", json=other)
    found = (await service.ask("GET", "/training-results"))[1]
    assert [each["training_id"] for each in found] == ["t-1", "t-2", "t-3"]
    found = (await service.ask("GET", "/training-results/digits/base2"))[1]
    assert [each["training_id"] for each in found] == ["t-1", "t-2"]
    assert found[0]["results"] == RESULT["results"]
    place = "/training-results/weights/digits/base2/t-1"
    assert (await service.ask("GET", place))[0] == 404
    status, body = await service.ask("PUT", f"{PLACE}/8", data=WEIGHTS)
    assert (status, "has the configuration 7, not 8" in body["error"]) == (404, True)
    assert (await service.ask("PUT", f"{PLACE}/7", data=form_of(file=WEIGHTS)))[0] == 204
    assert await service.ask("GET", place) == (200, WEIGHTS)
    status, body = await service.ask("GET", f"{place}?format=npz")
    assert (status, "another program has stored these weights" in body["error"]) == (409, True)
    assert (await service.ask("DELETE", PLACE))[0] == 204
    assert (await service.ask("GET", f"{place}?format=npz"))[0] == 404
    assert (await service.ask("DELETE", PLACE))[0] == 404
    assert (await service.ask("GET", place))[0] == 404


async def test_results_of_jobs_are_read_from_their_records(tmp_path: Path) -> None:
    """They are listed beside the stored ones, and stay."""
    store = store_in(tmp_path)
    push(store, 0.0)
    begin(store)
    for value in (1.0, 2.0):
        commit_next(store, value, metrics={"loss": value})
    store.close()
    async with repository_service(tmp_path) as service:
        stored = {**RESULT, "model_name": MODEL, "model_version": "3"}
        assert (await service.ask("POST", "/training-results", json=stored))[0] == 201
        status, body = await service.ask(
            "POST", "/training-results", json={**stored, "training_id": JOB}
        )
        assert (status, body["error"]) == (400, f"training_id: job {JOB} has a result of its own")
        for path in ("/training-results", f"/training-results/{MODEL}/3"):
            found = (await service.ask("GET", path))[1]
            assert [each["training_id"] for each in found] == ["t-1", JOB]
            assert [len(page) for page in await pages(service, path)] == [1, 1]
        for other in ("2", "1", "4", "0", "9" * 30):
            assert (await service.ask("GET", f"/training-results/{MODEL}/{other}"))[1] == []
        assert (await service.ask("GET", "/training-results/none/2"))[1] == []
        place = f"{MODEL}/3/{JOB}"
        status, body = await service.ask("GET", f"/training-results/meta/{place}")
        assert (status, body["results"]["rounds"], body["results"]["final_loss"]) == (200, 2, 2.0)
        assert body["weights_id"] == digest_of(weights(2.0))
        path = f"/training-results/weights/{place}"
        assert await service.ask("GET", path) == (200, weights(2.0))
        for form in ("npz", "safetensors"):
            status, body = await service.ask("GET", f"{path}?format={form}")
            assert (status, body) == await service.ask("GET", f"/model/{MODEL}/3?format={form}")
            assert status == 200
        status, body = await service.ask("GET", f"{path}?format=onnx")
        assert (status, "plain, npz, safetensors" in body["error"]) == (400, True)
        for method, path, data in (
            ("DELETE", f"/training-results/{place}", None),
            ("PUT", f"/training-results/{place}/7", WEIGHTS),
            ("PUT", f"/training-results/meta/{place}", b"{}"),
        ):
            status, body = await service.ask(method, path, data=data)
            assert (status, "is a record and stays" in body["error"]) == (409, True), path
        assert (await service.ask("GET", f"/training-results/weights/{MODEL}/2/{JOB}"))[0] == 404


async def pages(service: RepositoryService, path: str, limit: int = 1) -> list[list[str]]:
    """Return the names on each page until an empty one comes."""
    found: list[list[str]] = []
    after = ""
    while len(found) < 10:
        query = {"limit": str(limit), "after": after}
        _, listed = await service.ask("GET", path, params=query)
        if not listed:
            break
        found.append(["{model_name}/{model_version}/{training_id}".format(**e) for e in listed])
        after = found[-1][-1]
    return found


async def test_pages_go_on_from_stored_results_to_those_of_jobs(tmp_path: Path) -> None:
    """Each is on one page: of a job without a round, of another model, of a repeated id."""
    store = store_in(tmp_path)
    earlier = {**RESULT, "model_name": MODEL, "model_version": "9", "training_id": "first"}
    assert store.create_document(  # by another program, before there was a job of this id
        "training-result", f"{MODEL}/9/first", json.dumps(earlier).encode()
    )
    for job in ("first", "second", "third"):
        begin(store, job)
        assert store.end_job(0, job, "cancelled", "") is not None
    begin(store, "last", model="other")
    store.close()
    async with repository_service(tmp_path) as service:
        for training in ("t-1", "t-2"):
            stored = {**RESULT, "model_name": "zeta", "training_id": training}
            assert (await service.ask("POST", "/training-results", json=stored))[0] == 201
        expected = [f"{MODEL}/9/first", "zeta/base2/t-1", "zeta/base2/t-2"]
        expected += [f"{MODEL}/None/{job}" for job in ("third", "second", "first")]
        expected += ["other/None/last"]
        for limit in (1, 2, 5, 7):
            found = await pages(service, "/training-results", limit)
            assert [name for page in found for name in page] == expected
            assert len(found[0]) == limit


async def test_results_of_private_jobs_name_no_agent(tmp_path: Path) -> None:
    """They have the privacy that was spent, and neither energy nor contributors."""
    store = store_in(tmp_path)
    push(store, 0.0)
    begin(store, strategy=PRIVATE)
    commit_private(store, 1.0)
    store.close()
    async with repository_service(tmp_path) as service:
        (found,) = (await service.ask("GET", "/training-results"))[1]
        text = json.dumps(found)
        assert "agent." not in text
        assert found["results"]["privacy"]["epsilon"] > 0
        assert found["results"]["energy"] is None


async def test_names_are_checked(service: RepositoryService) -> None:
    """In the body and in the path."""
    for field in ("model_name", "model_version", "training_id"):
        status, body = await service.ask(
            "POST", "/training-results", json={**RESULT, field: "../../x"}
        )
        assert (status, f"{field}: not 1 to 64 letters" in body["error"]) == (400, True)
    assert (await service.ask("GET", "/training-results/digits/%2e%2e%2f"))[0] == 400
    assert (await service.ask("GET", "/training-results/digits/none"))[1] == []
