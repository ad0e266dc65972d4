"""Models over HTTP: drafts, uploads, versions, deletions, and what private rounds hide."""

import io
import json
from collections.abc import AsyncIterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("aiohttp")

from fedbus.digest import digest_of
from fedbus.model import safetensors
from fedbus.model.blob import encode
from fedbus.model.layout import Layout
from fedbus.wire import codec
from fedbus.wire.blobs import blob_ref_of
from fedbus.wire.documents import ModelSpec
from fedbus.wire.messages import TagVersion
from fedbus_repository.stores.records import Version
from tests.fedbus.frameworks.model_files_data import model_file
from tests.repository.harness import (
    FILE,
    MODEL,
    PRIVATE,
    begin,
    commit_next,
    commit_private,
    plain,
    push,
    push_of,
    put,
    spec,
    weights,
)
from tests.repository.http.repository_service import (
    RepositoryService,
    form_of,
    repository_service,
    store_in,
)
from tests.repository.protected_jobs import ENCRYPTED
from tests.repository.stores.test_named_versions import commit_encrypted


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[RepositoryService]:
    """Serve an empty repository."""
    async with repository_service(tmp_path) as found:
        yield found


def stated(**more: object) -> dict[str, Any]:
    """Return the metadata of a version."""
    return {**json.loads(spec()), **more}


def npz(value: float) -> bytes:
    """Return weights that all have one value, as NumPy writes them."""
    file = io.BytesIO()
    arrays = {"bias": np.full(3, value, np.float32), "weight": np.full((2, 3), value, np.float32)}
    np.savez(file, **arrays)
    return file.getvalue()


async def add(service: RepositoryService, value: float, number: int = 1, **more: object) -> None:
    """Create and upload a version."""
    status, body = await service.ask("POST", "/model", json=stated(**more))
    assert status == 201, body
    form = form_of(weights=npz(value), file=FILE)
    status, body = await service.ask("PUT", f"/model/{MODEL}/{number}", data=form)
    assert status == 204, body


async def test_a_version_is_created_uploaded_and_fetched(service: RepositoryService) -> None:
    """201, 204, 200; it is announced; a second one of this number is refused with 400."""
    assert await service.ask("GET", "/model") == (200, [])
    status, body = await service.ask("POST", "/model", json=stated(meta={"by": "me"}))
    assert (status, body["model_version"], body["weights"]) == (201, "1", None)
    assert body["missing"] == [{"digest": digest_of(FILE), "size": len(FILE)}]
    status, body = await service.ask("POST", "/model", json=stated())
    assert (status, "was created before; PUT /model/digits/1" in body["error"]) == (400, True)
    assert (await service.ask("GET", f"/model/{MODEL}/1"))[0] == 404
    assert [each["model_id"] for each in (await service.ask("GET", "/model"))[1]] == [None]
    form = form_of(weights=npz(1.0), file=FILE)
    status, body = await service.ask("PUT", f"/model/{MODEL}/1", data=form)
    assert (status, body) == (204, b"")
    assert service.shell.counts == {"version_made": 1}
    for version in ("1", "latest"):
        assert await service.ask("GET", f"/model/{MODEL}/{version}") == (200, weights(1.0))
    status, body, headers = await service.ask_all("HEAD", f"/model/{MODEL}/1")
    assert (status, headers["ETag"]) == (200, f'"{digest_of(weights(1.0))}"')
    status, body = await service.ask("GET", f"/model/meta?model_name={MODEL}&model_version=1")
    assert (body["meta"], body["kept"], body["training_id"]) == ({"by": "me"}, True, None)
    assert body["spec"]["architectures"].keys() == {"own", "torch"}
    status, body = await service.ask("POST", "/model", json=stated(model_version="1"))
    assert (status, body["error"]) == (400, "model digits has version 1; the next one is 2")
    status, body = await service.ask("POST", "/model", json=stated(model_version="7"))
    assert (status, "the next one of digits is 2" in body["error"]) == (400, True)
    await add(service, 2.0, 2)
    listed = (await service.ask("GET", "/model"))[1]
    assert [each["model_version"] for each in listed] == ["2"]
    listed = (await service.ask("GET", f"/model?model={MODEL}"))[1]
    assert [each["model_version"] for each in listed] == ["2", "1"]
    listed = (await service.ask("GET", f"/model?model={MODEL}&after=2"))[1]
    assert [each["model_version"] for each in listed] == ["1"]
    assert (await service.ask("GET", "/model?trained=true"))[1] == []
    available = (await service.ask("GET", "/models/available"))[1]
    assert [each["filename"] for each in available] == ["model/digits/1", "model/digits/2"]
    assert service.files() == []


EVERY_FIELD: dict[str, Any] = {
    **stated(),
    "input": {"data_type": {"image": {"size": [6]}}},
    "preprocessing": [{"id": "scale", "parameters": {"factor": 0.5}}],
    "raw_input": {"shape": [6], "dtype": "uint8"},
    "answers": "probabilities",
    "classes": ["a", "b", "c"],
    "least_batch": 2,
}


async def test_every_field_of_a_spec_reaches_the_version(service: RepositoryService) -> None:
    """Of the draft and of the version after the upload, as of a push over the bus."""
    plain_spec = codec.to_plain(codec.from_json(ModelSpec, json.dumps(EVERY_FIELD).encode()))
    for each in fields(ModelSpec):
        assert plain_spec[each.name] == EVERY_FIELD[each.name] != each.default, each.name
    await add(service, 1.0, **EVERY_FIELD)
    assert (await service.ask("POST", "/model", json=EVERY_FIELD))[0] == 201
    for number in (1, 2):
        _, body = await service.ask("GET", f"/model/meta/{MODEL}/{number}")
        assert body["spec"] == plain_spec
        assert (body["weights"] is None) == (number == 2)


async def test_a_key_that_would_be_dropped_is_refused(service: RepositoryService) -> None:
    """With the keys that are near it; anything goes in `meta`."""
    layout = stated()["layout"]
    for wrong, said in (
        ({"clases": ["a"]}, "clases: no such key; did you mean classes? expected model_name, "),
        ({"model_name": MODEL}, "model: no such key; did you mean model_name?"),
        ({"layout": [layout[0], {**layout[1], "rol": "local"}]}, "layout[1].rol: no such key"),
    ):
        status, body = await service.ask("POST", "/model", json=stated(**wrong))
        assert (status, said in body["error"]) == (400, True), body
    await add(service, 1.0, meta={"anything": {"goes": 1}})
    change = f"/models/{MODEL}/tags/first"
    status, body = await service.ask("PUT", change, json={"version": 1, "not": "why"})
    assert (status, body["error"]) == (
        400,
        "not: no such key; did you mean note? expected version, note",
    )


@pytest.mark.parametrize("with_weights", [True, False])
async def test_a_model_that_only_runs_is_uploaded(
    service: RepositoryService, *, with_weights: bool
) -> None:
    """Its layout is empty, and its form needs no weights."""
    file = model_file("plain.tflite")
    runs = {"tflite": {"blob": plain(blob_ref_of(file))}}
    only_runs = stated(layout=[], architectures=runs)
    assert (await service.ask("POST", "/model", json=only_runs))[0] == 201
    empty = bytes(encode({}, Layout((), may_be_empty=True)))
    parts = {"weights": empty} if with_weights else {}
    form = form_of(file=file, **parts)
    status, body = await service.ask("PUT", f"/model/{MODEL}/1", data=form)
    assert status == 204, body
    assert await service.ask("GET", f"/model/{MODEL}/1") == (200, empty)
    assert await service.ask("GET", f"/models/download/shell/model_{MODEL}_1") == (200, file)
    assert service.files() == []


async def test_a_draft_gives_way_to_a_version_that_another_program_made(tmp_path: Path) -> None:
    """It is neither shown nor changed in place of the version, nor stored as a later one."""
    async with repository_service(tmp_path) as service:
        await add(service, 1.0)
        assert (await service.ask("POST", "/model", json=stated(meta={"by": "me"})))[0] == 201
    store = store_in(tmp_path)
    for value in (5.0, 6.0):
        push(store, value)
    store.close()
    async with repository_service(tmp_path) as service:
        place = f"/model/meta/{MODEL}/2"
        status, body = await service.ask("GET", place)
        assert (status, body["model_id"], body["meta"]) == (200, digest_of(weights(5.0)), {})
        assert (await service.ask("PUT", place, json={"meta": {"a": 1}}))[0] == 204
        assert (await service.ask("GET", place))[1]["meta"] == {"a": 1}
        listed = (await service.ask("GET", "/model"))[1]
        assert [each["model_version"] for each in listed] == ["3"]
        form = form_of(weights=npz(9.0), file=FILE)
        status, body = await service.ask("PUT", f"/model/{MODEL}/2", data=form)
        assert (status, "has other versions by now; the next is 4" in body["error"]) == (409, True)
        assert (await service.ask("GET", f"/model/meta/{MODEL}/4"))[0] == 404
        status, body = await service.ask("DELETE", f"/model/{MODEL}/2")
        assert (status, "another DELETE deletes the weights" in body["error"]) == (409, True)
        assert (await service.ask("GET", f"/model/{MODEL}/2")) == (200, weights(5.0))
        assert (await service.ask("DELETE", f"/model/{MODEL}/2"))[0] == 204
        assert (await service.ask("GET", f"/model/{MODEL}/2"))[0] == 404


async def test_an_upload_is_repeated_although_its_version_exists(
    service: RepositoryService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is no room for its `meta`: the draft stays, and no acknowledged one is lost."""
    monkeypatch.setattr("fedbus_repository.stores.document_decisions.MAX_DOCUMENTS", 1)
    await add(service, 1.0, meta={"a": 1})
    assert (await service.ask("POST", "/model", json=stated(meta={"b": 2})))[0] == 201
    status, body = await service.ask("POST", "/model", json={**stated(), "model": "other"})
    assert (status, "documents of the kind model-draft" in body["error"]) == (507, True)
    form = {"weights": npz(2.0), "file": FILE}
    for _ in range(2):
        status, body = await service.ask("PUT", f"/model/{MODEL}/2", data=form_of(**form))
        assert (status, "the version is stored without it" in body["error"]) == (507, True)
    status, body = await service.ask("PUT", f"/model/meta/{MODEL}/2", json={"c": 3})
    assert (status, "documents of the kind model-meta" in body["error"]) == (507, True)
    status, body = await service.ask("GET", f"/model/meta/{MODEL}/2")
    assert (status, body["model_id"], body["meta"]) == (200, digest_of(weights(2.0)), {})
    monkeypatch.setattr("fedbus_repository.stores.document_decisions.MAX_DOCUMENTS", 2)
    status, body = await service.ask("PUT", f"/model/{MODEL}/2", data=form_of(**form))
    assert (status, body) == (204, b"")
    assert (await service.ask("GET", f"/model/meta/{MODEL}/2"))[1]["meta"] == {"b": 2}
    assert (await service.ask("GET", f"/model/meta/{MODEL}/latest"))[1]["model_version"] == "2"


async def test_every_file_is_on_one_page_of_those_that_can_be_fetched(
    service: RepositoryService,
) -> None:
    """Also those of a model with more versions than a page has."""
    for number, value in enumerate((1.0, 2.0, 3.0), 1):
        await add(service, value, number)
    assert (await service.ask("POST", "/model", json={**stated(), "model": "more"}))[0] == 201
    form = form_of(weights=npz(4.0), file=FILE)
    assert (await service.ask("PUT", "/model/more/1", data=form))[0] == 204
    found: list[str] = []
    for _ in range(4):
        after = found[-1] if found else ""
        page = (await service.ask("GET", f"/models/available?limit=1&after={after}"))[1]
        found += [each["filename"] for each in page]
    assert found == ["model/digits/1", "model/digits/2", "model/digits/3", "model/more/1"]
    assert (await service.ask("GET", f"/models/available?after={found[-1]}"))[1] == []
    last = (await service.ask("GET", f"/models/available?after={MODEL}"))[1]
    assert [each["filename"] for each in last] == ["model/more/1"]


async def test_weights_are_uploaded_in_the_plain_encoding(service: RepositoryService) -> None:
    """In a form, or as the body where the store has all other files."""
    await service.ask("POST", "/model", json=stated())
    form = form_of(weights=weights(1.0), file=FILE)
    assert (await service.ask("PUT", f"/model/{MODEL}/1", data=form))[0] == 204
    await service.ask("POST", "/model", json=stated())
    assert (await service.ask("PUT", f"/model/{MODEL}/2", data=weights(2.0)))[0] == 204
    assert await service.ask("GET", f"/model/{MODEL}/2") == (200, weights(2.0))


async def test_an_upload_that_does_not_fit_its_spec_is_refused(service: RepositoryService) -> None:
    """With 400 and the reason; the draft stays, and no blob."""
    await service.ask("POST", "/model", json=stated())
    nan = npz(float("nan"))
    for data, status, sentence in (
        (form_of(weights=npz(1.0)), 400, "the form lacks files that the spec names: "),
        (form_of(file=FILE), 400, "the form has no file `weights`"),
        (form_of(weights=npz(1.0), file=b"other"), 400, "which the spec does not name; it names"),
        (form_of(weights=npz(1.0), file=FILE, file2=FILE), 400, "more than 2 files in the form"),
        (form_of(weights=b"PK\3\4 damaged", file=FILE), 400, "not an .npz file"),
        (form_of(weights=b"what", file=FILE), 400, "the weights: "),
        (form_of(weights=nan, file=FILE), 400, "expected finite numbers, got nan"),
        (form_of(weights=weights(1.0)[:-1], file=FILE), 400, "a blob of 35 bytes after its header"),
        (form_of(weights=b"x" * 2_000_000), 413, "bytes, at most"),
    ):
        got, body = await service.ask("PUT", f"/model/{MODEL}/1", data=data)
        assert (got, sentence in body["error"]) == (status, True), body
        assert service.files() == []
    assert (await service.ask("GET", "/models/available"))[1] == []
    assert service.blobs() == []
    status, body = await service.ask("PUT", "/model/faces/1", data=npz(1.0))
    assert (status, body["error"]) == (
        404,
        "there is no draft faces 1; POST /model creates one",
    )
    assert (await service.ask("DELETE", f"/model/{MODEL}/1"))[0] == 204
    assert (await service.ask("DELETE", f"/model/{MODEL}/1"))[0] == 404


async def test_a_spec_that_cannot_be_used_is_refused(service: RepositoryService) -> None:
    """With its field."""
    for content, sentence in (
        (b"{bad", "not JSON"),
        (b"[]", "ModelUpload"),
        (b'{"model_name": "a"}', "ModelUpload.layout: Field required"),
        (json.dumps(stated(model="../a")).encode(), "model_name: not 1 to 64 letters"),
        (json.dumps(stated(classes=["a", "a"])).encode(), "classes: expected each name once"),
        (json.dumps(stated(model_version="x/y")).encode(), "model_version: not 1 to 64"),
        (json.dumps(stated(model_version="0")).encode(), "the next one of digits is 1"),
        (
            json.dumps(stated(architectures={"own": {"blob": {"digest": "x"}}})).encode(),
            "architectures.own.blob",
        ),
    ):
        status, body = await service.ask("POST", "/model", data=content)
        assert (status, sentence in body["error"]) == (400, True), body
    assert (await service.ask("POST", "/model", data=b" " * (2**20 + 1)))[0] == 413


async def test_weights_are_deleted_unless_something_needs_them(tmp_path: Path) -> None:
    """409 with the reason; the record stays."""
    store = store_in(tmp_path)
    push(store, 0.0)
    begin(store)
    for value in (1.0, 2.0, 3.0):
        commit_next(store, value)
    store.tag(TagVersion(model=MODEL, version=2, tag="paper"), "user.cli")
    store.close()
    async with repository_service(tmp_path) as service:
        status, body = await service.ask("DELETE", f"/model/{MODEL}/4")
        assert (status, "it is the latest version" in body["error"]) == (409, True)
        status, body = await service.ask("DELETE", f"/model/{MODEL}/paper")
        assert (status, "remove the tag" in body["error"]) == (409, True)
        assert (await service.ask("DELETE", f"/model/{MODEL}/3"))[0] == 204
        status, body = await service.ask("GET", f"/model/{MODEL}/3")
        assert (status, body["error"]) == (404, "the weights of digits version 3 are deleted")
        assert (await service.ask("DELETE", f"/model/{MODEL}/3"))[0] == 404
        status, body = await service.ask("GET", f"/model/meta/{MODEL}/3")
        assert (body["kept"], body["training_id"], body["round"]) == (False, "digits-1", 2)
        assert (await service.ask("GET", f"/model/{MODEL}/2"))[0] == 200
        for version, status in (("9", 404), ("0", 400), ("none", 404), ("a%20b", 400)):
            assert (await service.ask("GET", f"/model/{MODEL}/{version}"))[0] == status, version
        listed = (await service.ask("GET", "/model?trained=true"))[1]
        assert [each["model_version"] for each in listed] == ["4"]


async def test_a_model_in_training_takes_no_upload(tmp_path: Path) -> None:
    """Nor does a trained one, unless the client says that its versions begin again."""
    store = store_in(tmp_path)
    push(store, 0.0)
    job = begin(store)
    commit_next(store, 1.0)
    store.close()
    async with repository_service(tmp_path) as service:
        await service.ask("POST", "/model", json=stated())
        upload = f"/model/{MODEL}/3"
        status, body = await service.ask("PUT", upload, data=weights(5.0))
        assert (status, job.job in body["error"]) == (409, True), body
    store = store_in(tmp_path)
    store.end_job(0, job.job, "finished", "done")
    store.close()
    async with repository_service(tmp_path) as service:
        status, body = await service.ask("PUT", upload, data=weights(5.0))
        assert status == 409
        assert (await service.ask("PUT", f"{upload}?reset=what", data=weights(5.0)))[0] == 400
        assert (await service.ask("PUT", f"{upload}?reset=true", data=weights(5.0)))[0] == 204
        assert await service.ask("GET", f"/model/{MODEL}/latest") == (200, weights(5.0))


async def test_versions_of_private_rounds_name_no_agent(tmp_path: Path) -> None:
    """Their report has the ε, and no number or figure of agents."""
    store = store_in(tmp_path)
    push(store, 0.0)
    begin(store, strategy=PRIVATE)
    commit_private(store, 1.0)
    store.close()
    async with repository_service(tmp_path) as service:
        for path in ("/model", f"/model?model={MODEL}", f"/model/meta/{MODEL}/2"):
            _, body = await service.ask("GET", path)
            text = json.dumps(body)
            assert "agent." not in text
            assert "contributors" not in text
            assert "epsilon" in text


async def test_meta_is_changed(service: RepositoryService) -> None:
    """Of a draft and of a version; 404 for none."""
    await service.ask("POST", "/model", json=stated())
    path = f"/model/meta/{MODEL}/1"
    assert (await service.ask("PUT", path, json={"meta": {"a": 1}}))[0] == 204
    assert (await service.ask("GET", path))[1]["meta"] == {"a": 1}
    form = form_of(weights=npz(1.0), file=FILE)
    await service.ask("PUT", f"/model/{MODEL}/1", data=form)
    assert (await service.ask("GET", path))[1]["meta"] == {"a": 1}
    assert (await service.ask("PUT", path, json={"b": 2}))[0] == 204
    assert (await service.ask("GET", path))[1]["meta"] == {"b": 2}
    assert (await service.ask("PUT", f"/model/meta/{MODEL}/2", json={}))[0] == 404
    status, body = await service.ask("PUT", path, json={"meta": {"a": 1}, "note": "lost"})
    assert (status, "note: not stored beside `meta`" in body["error"]) == (400, True)
    assert (await service.ask("GET", path))[1]["meta"] == {"b": 2}
    assert (await service.ask("PUT", path, json={"meta": 1}))[0] == 400
    assert (await service.ask("PUT", path, json=1))[0] == 400
    assert (await service.ask("PUT", path, data=b" " * 70_000))[0] == 413


async def test_the_file_of_an_architecture_is_downloaded(service: RepositoryService) -> None:
    """By the name that ASSIST-IoT gives it."""
    await add(service, 1.0)
    path = f"/models/download/shell/model_{MODEL}_1"
    assert await service.ask("GET", path) == (200, FILE)
    assert await service.ask("GET", f"{path}?architecture=own") == (200, FILE)
    status, body = await service.ask("GET", f"{path}?architecture=keras")
    assert (status, "has files for: own" in body["error"]) == (404, True)
    assert (await service.ask("GET", "/models/download/shell/model_faces_1"))[0] == 404
    for wrong in (MODEL, "model_1", "..%2f..%2fetc%2fpasswd"):
        assert (await service.ask("GET", f"/models/download/shell/{wrong}"))[0] in {400, 404}


async def test_weights_are_downloaded_as_files_of_arrays(service: RepositoryService) -> None:
    """Without fedbus they are read by NumPy or safetensors; ranges and tags work as for blobs."""
    await add(service, 2.0)
    path = f"/model/{MODEL}/latest"
    status, body, headers = await service.ask_all("GET", f"{path}?format=npz")
    assert (status, f'filename="{MODEL}-1.npz"' in headers["Content-Disposition"]) == (200, True)
    with np.load(io.BytesIO(body)) as arrays:
        assert {name: float(array.max()) for name, array in arrays.items()} == {
            "bias": 2.0,
            "weight": 2.0,
        }
    tail = {"Range": "bytes=-50"}
    assert await service.ask("GET", f"{path}?format=npz", headers=tail) == (206, body[-50:])
    known = {"If-None-Match": headers["ETag"]}
    assert (await service.ask("GET", f"{path}?format=npz", headers=known))[0] == 304
    assert (await service.ask("GET", path, headers=known))[0] == 200
    status, body = await service.ask("GET", f"{path}?format=safetensors")
    assert (status, float(safetensors.unpack(body)["weight"].max())) == (200, 2.0)
    assert b'"version":"1"' in body
    status, refused = await service.ask("GET", f"{path}?format=onnx")
    assert (status, "plain, npz, safetensors" in refused["error"]) == (400, True)


async def test_what_has_no_arrays_is_not_downloaded_as_a_file_of_arrays(tmp_path: Path) -> None:
    """A damaged blob is no file of arrays either."""
    store = store_in(tmp_path)
    push(store, 0.0)
    digest = store.latest()[0].weights.digest
    store.close()
    path = tmp_path / "data/blobs" / digest[:2] / digest
    path.write_bytes(bytes(path.stat().st_size))
    async with repository_service(tmp_path) as service:
        for form in ("npz", "safetensors"):
            status, refused = await service.ask("GET", f"/model/{MODEL}/1?format={form}")
            assert (status, "restore them from a backup" in refused["error"]) == (500, True)
        path.unlink()
    async with repository_service(tmp_path) as service:
        for query in ("", "?format=npz"):
            status, refused = await service.ask("GET", f"/model/{MODEL}/1{query}")
            assert (status, "restore them from a backup" in refused["error"]) == (500, True)


async def test_versions_without_arrays_say_so(tmp_path: Path) -> None:
    """Ciphertexts, and the file of a model that only runs."""
    store = store_in(tmp_path)
    begin(store, strategy=ENCRYPTED)
    commit_encrypted(store, b"ciphertexts")
    file = model_file("plain.tflite")
    runs = {"tflite": {"blob": plain(put(store, file))}}
    stated = put(store, spec(model="runs", layout=(), architectures=runs))
    empty = put(store, bytes(encode({}, Layout((), may_be_empty=True))))
    pushed = store.push(push_of(stated, empty, model="runs"), (blob_ref_of(file),))
    assert isinstance(pushed, Version)
    store.close()
    async with repository_service(tmp_path) as service:
        status, refused = await service.ask("GET", f"/model/{MODEL}/latest?format=npz")
        assert (status, "is encrypted" in refused["error"]) == (409, True), refused
        assert (await service.ask("GET", f"/model/{MODEL}/latest"))[0] == 200
        status, refused = await service.ask("GET", "/model/runs/1?format=safetensors")
        assert (status, "only runs" in refused["error"]) == (409, True), refused
