"""JSON documents that HTTP clients send: a key that would be dropped in silence is refused."""

from collections.abc import Collection, Iterator
from typing import Any, TypeVar

from fedbus.http_api.responses import ApiError
from fedbus.text import in_given_order, nearest
from fedbus.wire import codec
from fedbus.wire.json_reader import Place, path_of, read_json

T = TypeVar("T")


def read_document(kind: type[T], body: bytes, ignored: Collection[str] = ()) -> T:
    """Read a document, and refuse keys that it does not have, at any depth.

    `ignored` are keys of the document itself that clients may send back as they got them.

    Raises:
        WireError: The body is not one of `kind`.
        ApiError: 400, a key is not known; the sentence has the keys that are.
    """
    read = codec.from_foreign_json(kind, body)
    for place, known in _dropped(read_json(body), codec.to_plain(read)):
        if len(place) > 1 or place[0] not in ignored:
            near = nearest(str(place[-1]), known)
            meant = f"did you mean {near}? " if near else ""
            raise ApiError(
                400, f"{path_of(place)}: no such key; {meant}expected {in_given_order(known)}"
            )
    return read


def _dropped(given: Any, kept: Any, place: Place = ()) -> Iterator[tuple[Place, list[str]]]:  # noqa: ANN401 - any JSON
    """Yield the place of each key that is in `given` only, and the keys that are beside it."""
    if isinstance(given, dict) and isinstance(kept, dict):
        for key, value in given.items():
            if key in kept:
                yield from _dropped(value, kept[key], (*place, key))
            else:
                yield (*place, key), list(kept)
    elif isinstance(given, list) and isinstance(kept, list):
        for index, (value, other) in enumerate(zip(given, kept, strict=False)):
            yield from _dropped(value, other, (*place, index))
