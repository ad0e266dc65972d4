"""What a model's card names besides itself. Pure."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from fedbus.errors import WireError
from fedbus.wire import codec
from fedbus.wire.limits import MAX_CARD_FILE_BYTES
from fedbus.wire.states import ModelCard
from fedbus.wire.values import Manifest


def files_of(card: ModelCard) -> tuple[Manifest, ...]:
    """Name the files a card's structures need: each `{"blob": manifest}`.

    Raises:
        WireError: one of them is no manifest, or too large.
    """
    return named_files(card.structures.items())


def named_files(structures: Iterable[tuple[str, Mapping[str, Any]]]) -> tuple[Manifest, ...]:
    """Name the files of some structures, given as (framework, structure), once each.

    Raises:
        WireError: as `files_of`.
    """
    found = []
    for name, structure in structures:
        if "blob" in structure:
            try:
                stated = json.dumps(structure["blob"]).encode()
                found.append(codec.from_json(Manifest, stated))
            except WireError as error:
                raise WireError(f"structures.{name}.blob: {error}") from error
    if (largest := max((file.size for file in found), default=0)) > MAX_CARD_FILE_BYTES:
        raise WireError(
            f"a card that names a file of {largest} bytes, at most {MAX_CARD_FILE_BYTES}"
        )
    return tuple(dict.fromkeys(found))
