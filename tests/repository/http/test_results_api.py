"""Results of trainings over HTTP: ASSIST-IoT's paths and status codes."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

pytest.importorskip("aiohttp")

from tests.repository.http.repository_service import (
    RepositoryService,
    form_of,
    repository_service,
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
    weights = "/training-results/weights/digits/base2/t-1"
    assert (await service.ask("GET", weights))[0] == 404
    status, body = await service.ask("PUT", f"{PLACE}/8", data=WEIGHTS)
    assert (status, "has the configuration 7, not 8" in body["error"]) == (404, True)
    assert (await service.ask("PUT", f"{PLACE}/7", data=form_of(file=WEIGHTS)))[0] == 204
    assert await service.ask("GET", weights) == (200, WEIGHTS)
    assert (await service.ask("DELETE", PLACE))[0] == 204
    assert (await service.ask("DELETE", PLACE))[0] == 404
    assert (await service.ask("GET", weights))[0] == 404


async def test_names_are_checked(service: RepositoryService) -> None:
    """In the body and in the path."""
    for field in ("model_name", "model_version", "training_id"):
        status, body = await service.ask(
            "POST", "/training-results", json={**RESULT, field: "../../x"}
        )
        assert (status, f"{field}: not 1 to 64 letters" in body["error"]) == (400, True)
    assert (await service.ask("GET", "/training-results/digits/%2e%2e%2f"))[0] == 400
    assert (await service.ask("GET", "/training-results/digits/none"))[1] == []
