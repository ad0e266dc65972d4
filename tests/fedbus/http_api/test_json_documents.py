"""Documents of HTTP clients: read whole or refused."""

import re
from dataclasses import dataclass, field
from typing import Any

import pytest

pytest.importorskip("aiohttp")

from fedbus.errors import WireError
from fedbus.http_api.json_documents import read_document
from fedbus.http_api.responses import ApiError


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentPart:
    """A part of a document."""

    size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentWithParts:
    """A document with parts, and with a field in which anything goes."""

    name: str
    parts: tuple[DocumentPart, ...] = ()
    named: dict[str, DocumentPart] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    main: DocumentPart | None = None


def test_a_document_is_read() -> None:
    """With all that its free fields have, and without what may be sent back."""
    body = (
        b'{"name": "a", "parts": [{"size": 1}], "main": null, "meta": {"x": [{"y": 1}]}, "at": 3}'
    )
    found = read_document(DocumentWithParts, body, ("at",))
    assert found == DocumentWithParts(
        name="a", parts=(DocumentPart(size=1),), meta={"x": [{"y": 1}]}
    )


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('{"name": "a", "nmae": 1}', "nmae: no such key; did you mean name? expected name, parts,"),
        ('{"name": "a", "wat": 1}', "wat: no such key; expected name, parts, named, meta, main"),
        ('{"name": "a", "parts": [{}, {"sise": 1}]}', "parts[1].sise: no such key; did you"),
        ('{"name": "a", "named": {"b": {"at": 1}}}', "named.b.at: no such key; expected size"),
        ('{"name": "a", "main": {"x": 1}}', "main.x: no such key"),
    ],
)
def test_a_key_that_would_be_dropped_is_refused(body: str, said: str) -> None:
    """At any depth; one that may be sent back only in the document itself."""
    with pytest.raises(ApiError, match=re.escape(said)) as caught:
        read_document(DocumentWithParts, body.encode(), ("at",))
    assert caught.value.status == 400


def test_what_is_no_document_is_refused_as_such() -> None:
    """A wrong type, and another value than an object."""
    for body in (b'{"name": 1, "wat": 1}', b"[]"):
        with pytest.raises(WireError, match="DocumentWithParts"):
            read_document(DocumentWithParts, body)
