"""Tags, aliases and lineage over HTTP: the statuses of refusals, the author, the announcement."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("aiohttp")

from fedbus.core.actions import Announce
from fedbus.core.events import Local
from fedbus.wire.documents import ModelAliases
from fedbus.wire.messages import TagVersion
from fedbus_repository.core import RepositoryCore
from fedbus_repository.keys import NamedOverHttp
from fedbus_repository.stores.records import StoreRefusal
from tests.repository.harness import MODEL, PRIVATE, begin, commit_next, commit_private, push
from tests.repository.http.repository_service import (
    RepositoryService,
    repository_service,
    store_in,
)

NAMES = f"/models/{MODEL}"


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[RepositoryService]:
    """Serve a repository that has three versions, and a token that only reads."""
    store = store_in(tmp_path)
    begin(store)
    commit_next(store, 1.0)
    commit_next(store, 2.0)
    store.close()
    async with repository_service(tmp_path, {"reader": ("models:read",)}) as found:
        yield found


async def put(service: RepositoryService, path: str, **body: object) -> tuple[int, Any]:
    """Send a change."""
    return await service.ask("PUT", f"{NAMES}/{path}", json=body)


async def test_a_version_is_tagged_and_the_tag_moved_and_removed(
    service: RepositoryService,
) -> None:
    """A repeated request changes nothing; the history has who did it."""
    status, names = await put(service, "tags/paper", version=1, note="figure 2")
    assert (status, names) == (200, {"model_name": MODEL, "aliases": {}, "tags": {"paper": 1}})
    assert (await put(service, "tags/paper", version=2))[1]["tags"] == {"paper": 2}
    assert (await put(service, "tags/paper", version=2))[0] == 200
    status, names = await service.ask("DELETE", f"{NAMES}/tags/paper")
    assert (status, names["tags"]) == (200, {})
    assert await service.ask("GET", f"{NAMES}/names") == (200, names)
    status, page = await service.ask("GET", f"{NAMES}/names/changes?name=paper&limit=2")
    assert (status, page["more"]) == (200, True)
    assert [(each["kind"], each["version"]) for each in page["changes"]] == [
        ("untag", None),
        ("tag", 2),
    ]
    last = page["changes"][-1]["number"]
    _, page = await service.ask("GET", f"{NAMES}/names/changes?before={last}")
    (first,) = page["changes"]
    assert (first["by"], first["note"], first["version"]) == ("http.admin", "figure 2", 1)


async def test_an_alias_is_moved_only_from_the_expected_version(service: RepositoryService) -> None:
    """Two people who promote at a time must not overwrite each other's decision."""
    assert (await put(service, "aliases/production", version=2, expected=0))[0] == 200
    status, refused = await put(service, "aliases/production", version=3, expected=0)
    assert (status, "names version 2 now, not none" in refused["error"]) == (409, True)
    assert (await put(service, "aliases/production", version=3, expected=2))[0] == 200
    status, names = await put(service, "aliases/production", version=3, expected=2)
    assert (status, names["aliases"]) == (200, {"production": 3}), "repeated"
    back = f"{NAMES}/aliases/production/roll-back"
    for _ in range(2):
        status, names = await service.ask("POST", back, json={"expected": 3})
        assert (status, names["aliases"]) == (200, {"production": 2})
    assert (await service.ask("POST", back, json={"expected": 1}))[0] == 409
    assert (await service.ask("POST", back, json={"expected": 2}))[0] == 409, "none before"
    gone = f"{NAMES}/aliases/production"
    assert (await service.ask("DELETE", f"{gone}?expected=3"))[0] == 409
    status, refused = await service.ask("DELETE", f"{gone}?expcted=3")
    said = "'expcted': no such parameter; did you mean expected? known: expected"
    assert (status, refused["error"]) == (400, said)
    status, names = await service.ask("DELETE", f"{gone}?expected=2")
    assert (status, names["aliases"]) == (200, {})


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/models/none/names", None, 404),
        ("GET", "/models/none/names/changes", None, 404),
        ("GET", f"{NAMES}/names/changes?name=none", None, 404),
        ("GET", "/models/none/lineage", None, 404),
        ("GET", f"{NAMES}/lineage?version=9", None, 404),
        ("GET", f"{NAMES}/lineage?version=x", None, 400),
        ("GET", f"{NAMES}/lineage?relation=cousins", None, 400),
        ("GET", f"{NAMES}/lineage?limit=0", None, 400),
        ("GET", "/models/%20/names", None, 400),
        ("PUT", "/models/none/tags/t", {"version": 1}, 404),
        ("PUT", f"{NAMES}/tags/t", {"version": 9}, 404),
        ("PUT", f"{NAMES}/tags/t", {"version": "1"}, 400),
        ("PUT", f"{NAMES}/tags/t", {}, 400),
        ("PUT", f"{NAMES}/tags/latest", {"version": 1}, 400),
        ("PUT", f"{NAMES}/tags/7", {"version": 1}, 400),
        ("PUT", f"{NAMES}/tags/production", {"version": 1}, 409),
        ("DELETE", f"{NAMES}/tags/none", None, 404),
        ("PUT", f"{NAMES}/aliases/a", {"version": 9}, 404),
        ("PUT", f"{NAMES}/aliases/latest", {"version": 1}, 400),
        ("PUT", f"{NAMES}/aliases/7", {"version": 1}, 400),
        ("PUT", f"{NAMES}/aliases/a%2Fb", {"version": 1}, 400),
        ("DELETE", f"{NAMES}/aliases/none", None, 404),
        ("POST", f"{NAMES}/aliases/none/roll-back", {"expected": 1}, 404),
        ("POST", f"{NAMES}/aliases/production/roll-back", {}, 400),
    ],
)
async def test_refusals_have_the_status_of_their_kind(
    service: RepositoryService, method: str, path: str, body: object, status: int
) -> None:
    """400: correct the request; 404: correct the name; 409: look at the state."""
    assert (await put(service, "aliases/production", version=1))[0] == 200
    found, answer = await service.ask(method, path, json=body)
    assert (found, bool(answer["error"])) == (status, True), answer


async def test_deleted_weights_are_not_promoted(service: RepositoryService) -> None:
    """Inference could not load them."""
    assert (await service.ask("DELETE", f"/model/{MODEL}/1"))[0] == 204
    status, refused = await put(service, "aliases/production", version=1)
    assert (status, "are deleted" in refused["error"]) == (409, True)


async def test_a_token_that_reads_changes_no_name(service: RepositoryService) -> None:
    """It reads names and lineage."""
    reader = {"Authorization": "Bearer " + "reader" * 20}
    path = f"{NAMES}/aliases/production"
    for method, target in (("PUT", path), ("DELETE", path), ("POST", f"{path}/roll-back")):
        assert (await service.ask(method, target, headers=reader, json={"version": 1}))[0] == 403
    assert (await service.ask("GET", f"{NAMES}/names", headers=reader))[0] == 200


async def test_lineage_is_read_in_pages(service: RepositoryService) -> None:
    """Ancestors nearest first, descendants and leaves ascending."""
    status, found = await service.ask("GET", f"{NAMES}/lineage?limit=1")
    assert (status, found["model_version"], found["more"]) == (200, "3", True)
    assert [each["model_version"] for each in found["versions"]] == ["2"]
    _, found = await service.ask("GET", f"{NAMES}/lineage?limit=1&after=2")
    (root,) = found["versions"]
    assert (root["model_version"], root["base"], found["more"]) == ("1", None, False)
    _, found = await service.ask("GET", f"{NAMES}/lineage?version=1&relation=descendants")
    assert [each["base"] for each in found["versions"]] == [1, 2]
    _, found = await service.ask("GET", f"{NAMES}/lineage?relation=leaves")
    assert found["model_version"] is None
    assert [each["model_version"] for each in found["versions"]] == ["3"]


async def test_lineage_of_private_rounds_names_no_agent(tmp_path: Path) -> None:
    """It is read as the versions are, without the figures of agents."""
    store = store_in(tmp_path)
    begin(store, strategy=PRIVATE)
    commit_private(store, 1.0)
    store.close()
    async with repository_service(tmp_path) as service:
        status, found = await service.ask("GET", f"{NAMES}/lineage?version=1&relation=descendants")
    assert (status, len(found["versions"])) == (200, 1)
    assert found["versions"][0]["epsilon"] is not None
    assert "agent" not in str(found)


def test_a_change_over_http_is_announced(tmp_path: Path) -> None:
    """Inference follows an alias by what is announced."""
    store = store_in(tmp_path)
    push(store)
    found = store.tag(TagVersion(model=MODEL, version=1, tag="paper"), "http.admin")
    assert not isinstance(found, StoreRefusal)
    core = RepositoryCore("repository.1", store)
    announced = [
        action.message
        for action in core.handle(Local(NamedOverHttp(found)), 0.0)
        if isinstance(action, Announce)
    ]
    store.close()
    assert [each.tags for each in announced if isinstance(each, ModelAliases)] == [{"paper": 1}]
