"""Generator of the pages made from the code, and of the list of settings' names.

`make docs` writes them; `--check` writes nothing, and fails if a page differs from the code.
"""

import argparse
import dataclasses
import inspect
import sys
from pathlib import Path
from typing import Any, get_args, get_type_hints

import http_page
import job_file_page
import loaders_page
import msgpack
import settings_page
import strategies_page

from fedbus.blobs.transfer.chunk import HEADER_BYTES, write_chunk
from fedbus.scalars import IDENT
from fedbus.wire import blobs, documents, identifiers, topics
from fedbus.wire.topics import LINKS, PUBLIC, ROOT, Link

HERE = Path(__file__).parent
WIRE = HERE / "wire.md"
NAMES = HERE.parent / "libs/fedbus/src/fedbus/runtime/known_settings.py"

HEAD = f"""# Topics and messages

Generated from `fedbus/wire/topics.py` by `make docs`; do not edit.

All topics are below the root `{ROOT}`, which is configurable. A node is named `role.name`, where
the role is one of {", ".join(f"`{role}`" for role in identifiers.ROLES)}
and the name matches `{IDENT}`. Its login at the broker is its node name, and the access
rules allow it to publish only under its own name, so a topic states its sender and its role.

Messages between nodes are msgpack maps with the fields below; unknown fields are ignored. Public
documents are JSON unless the table has another encoding. Messages over 1 MiB are not read.

## Jobs by any client

Publish a job file to `submit` with QoS 1, over MQTT 5 or 3.1.1, once: a controller that is down or
has no lease accepts it when it leads again. Two conditions apply: a controller has logged in to
this broker before, and the broker keeps running, is stopped cleanly, or has saved its state
(Mosquitto killed with SIGKILL loses messages that it acknowledged after its last save). A file
without `training_id` also becomes one job only, even if the controller dies before its
acknowledgement or a standby takes over: the repository identifies the file by its bytes and its
response topic. An equal file with the same response topic (or with none) is therefore the same job
for 120 seconds, or for eight times `FEDBUS_LEASE_SECONDS` if that is more, and a new job after
that; with MQTT 5, correlation data distinguish two requests. `cancel` is kept in the same way.
Without QoS 1, wait for the reply and publish again.

Or publish the file with the retain flag to `jobs/ID/request`: the broker retains it, over its
restarts too, until it is stored or refused; then it is cleared. A retained packet on `submit` or
`cancel` is ignored, and the controller logs it; a packet that is published there with the flag
while a controller is connected is processed once.

With MQTT 5, name a response topic under `replies/` for the reply. Without one, read
`jobs/ID/state` (accepted) and `jobs/ID/request/refused` (refused, with all faults; kept for an
hour). An inference request without a response topic is not answered; the service logs it.

JSON is UTF-8, with or without a byte order mark. Duplicate keys, NaN and infinity, whole numbers of
more than 32 digits, more than 32 levels of nesting, and text after the value are refused, here as
in files and over HTTP.

## Public topics

| topic | message | encoding | retained | written by | read by | meaning |
|---|---|---|---|---|---|---|
"""

LINKED = """
## Between nodes: `link/{from}/{to}/{message}`

| message | from | to | meaning |
|---|---|---|---|
"""

CHUNKS = f"""
## Chunks: `link/{{source}}/{{receiver}}/chunk` and `blobs/{{source}}/{{digest}}`

A chunk is the msgpack array `[serial, index, crc32, data]`, which any msgpack library reads. It is
written with the fixed widths below for all values: a header of {HEADER_BYTES} bytes, then at most
{blobs.CHUNK_BYTES // 1024} KiB of the blob. A receiver refuses any other form, such as one with
shorter integers, and logs what it expected. Integers are unsigned and big-endian.

| offset | bytes | content |
|---|---|---|
| 0 | 1 | `94`, an array of 4 |
| 1 | 5 | `ce`, then the serial of the chunk request, in a multicast 0 or (confirm) 1, as uint32 |
| 6 | 5 | `ce`, then the index as uint32: data begins at byte `index x {blobs.CHUNK_BYTES}` |
| 11 | 5 | `ce`, then the crc32 (of zlib and PNG) of bytes 0 to 10 and the data, as uint32 |
| 16 | 5 | `c6`, then the length of the data in bytes as uint32 |
| {HEADER_BYTES} | … | the data |

Test vectors for clients in other languages; data and chunk are in hexadecimal digits:

| serial | index | crc32 | data | chunk |
|---|---|---|---|---|
"""

FIELDS = """
## Fields

"""

CHUNK_VECTORS = ((0, 0, b""), (0x01020304, 5, b"abc"), (1, 2**32 - 1, bytes(range(8))))


def _vector(serial: int, index: int, data: bytes) -> str:
    chunk = write_chunk(serial, index, data)
    crc32 = msgpack.unpackb(chunk)[2]
    content = f"`{data.hex()}`" if data else "none"
    return _row((str(serial), str(index), str(crc32), content, f"`{chunk.hex()}`"))


def _time(seconds: int) -> str:
    days, hours = divmod(seconds // topics.HOUR_SECONDS, topics.DAY_SECONDS // topics.HOUR_SECONDS)
    return f"{days} days" if days else f"{hours} h"


def write() -> str:
    """Return the page of topics and messages."""
    parts = [HEAD]
    for topic in PUBLIC:
        name = _name(topic.message)
        message = f"[{name}](#{name.lower()})" if name else "any"
        expiry = f", {_time(topic.expiry)}" if topic.expiry else ""
        retained = f"yes{expiry}" if topic.retain else "no"
        row = (
            f"`{topic.pattern}`", message, topic.encoding, retained,
            ", ".join(_whom(topic.writers)), ", ".join(_whom(topic.readers)), topic.purpose,
        )  # fmt: skip
        parts.append(_row(row))
    parts.append(LINKED)
    parts.extend(_row(_link_row(link)) for link in LINKS)
    parts.extend((CHUNKS, *(_vector(*vector) for vector in CHUNK_VECTORS), FIELDS))
    parts.extend(_fields(kind) for kind in _kinds())
    return "".join(parts)


def _link_row(link: Link) -> tuple[str, ...]:
    name = _name(link.message)
    senders, receivers = ", ".join(_whom(link.senders)), ", ".join(_whom(link.receivers))
    return f"[`{link.name}`](#{name.lower()})", senders, receivers, _doc(link.message)


def _whom(roles: tuple[str, ...]) -> tuple[str, ...]:
    return ("every node",) if set(roles) == set(identifiers.ROLES) else roles


def _row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _kinds() -> list[type[Any]]:
    kinds: set[Any] = {link.message for link in LINKS} | {t.message for t in PUBLIC if t.message}
    found: set[Any] = set()
    waiting = [*kinds, documents.ModelSpec]  # a spec is sent as a blob
    while waiting:
        kind = waiting.pop()
        if isinstance(kind, type) and dataclasses.is_dataclass(kind) and kind not in found:
            found.add(kind)
            waiting.extend(get_type_hints(kind).values())
        waiting.extend(get_args(kind))
    return sorted(found, key=_name)


def _fields(kind: type[Any]) -> str:
    hints = get_type_hints(kind)
    rows = "".join(
        _row((f"`{field.name}`", _type(hints[field.name]), _default(field)))
        for field in dataclasses.fields(kind)
    )
    table = f"| field | type | default |\n|---|---|---|\n{rows}" if rows else "No fields.\n"
    return f"### {_name(kind)}\n\n{inspect.getdoc(kind)}\n\n{table}\n"


def _default(field: "dataclasses.Field[Any]") -> str:
    if field.default is not dataclasses.MISSING:
        return f"`{field.default!r}`"
    return "empty" if field.default_factory is not dataclasses.MISSING else ""


def _type(hint: Any) -> str:  # noqa: ANN401 - any annotation
    text = str(hint) if not isinstance(hint, type) or hasattr(hint, "__args__") else hint.__name__
    for noise in (
        "typing.",
        "collections.abc.",
        "fedbus.wire.blobs.",
        "fedbus.wire.identifiers.",
        "fedbus.wire.round_records.",
        "fedbus.wire.documents.",
        "fedbus.training.params.",
    ):
        text = text.replace(noise, "")
    return f"`{text}`"


def _doc(kind: type[Any]) -> str:
    return (inspect.getdoc(kind) or "").split("\n\n")[0].replace("\n", " ")


def _name(kind: type[Any] | None) -> str:
    return kind.__name__ if kind else ""


def main() -> None:
    """Write the pages, or check them with `--check`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail if a page is not up to date")
    check = parser.parse_args().check
    pages = (
        (WIRE, write()),
        (HERE / "http.md", http_page.http_page()),
        (HERE / "job-file.md", job_file_page.write()),
        (HERE / "loaders.md", loaders_page.write()),
        (HERE / "settings.md", settings_page.write()),
        (HERE / "strategies.md", strategies_page.write()),
        (NAMES, settings_page.write_names()),
    )
    for path, page in pages:
        if not check:
            path.write_text(page, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != page:
            sys.exit(f"{path.name} differs from the code: run `make docs`")


if __name__ == "__main__":
    main()
