"""The repository's HTTP API on MongoDB: the same answers, and files in GridFS."""

from pathlib import Path
from random import Random

import pytest

pytest.importorskip("aiohttp")

from fedbus.digest import digest_of
from tests.repository.harness import FILE, MODEL, weights
from tests.repository.http.repository_service import form_of, repository_service
from tests.repository.http.test_models_api import npz, stated


async def test_files_and_versions_are_uploaded_and_fetched(tmp_path: Path, mongo_url: str) -> None:
    """In each way of an upload, in ranges, and deleted."""
    first = Random(1).randbytes(1_000_001)
    second = first[1:]
    async with repository_service(tmp_path, store=mongo_url) as service:
        assert (await service.ask("POST", "/strategy", json={"strategy_name": "fedx"}))[0] == 201
        assert (await service.ask("POST", "/strategy", json={"strategy_name": "fedx"}))[0] == 400
        assert (await service.ask("PUT", "/strategy/fedx", data=form_of(file=first)))[0] == 204
        assert await service.ask("GET", "/strategy/fedx") == (200, first)
        part = {"Range": "bytes=-7"}
        assert await service.ask("GET", "/strategy/fedx", headers=part) == (206, first[-7:])
        known = {"Fedbus-Digest": digest_of(second)}
        assert (await service.ask("PUT", "/strategy/fedx", data=second, headers=known))[0] == 204
        assert await service.ask("GET", "/strategy/fedx") == (200, second)
        assert (await service.ask("POST", "/model", json=stated()))[0] == 201
        form = form_of(weights=npz(1.0), file=FILE)
        assert (await service.ask("PUT", f"/model/{MODEL}/1", data=form))[0] == 204
        assert await service.ask("GET", f"/model/{MODEL}/latest") == (200, weights(1.0))
        assert (await service.ask("DELETE", "/strategy/fedx"))[0] == 204
        assert await service.ask("GET", "/strategy") == (200, [])
