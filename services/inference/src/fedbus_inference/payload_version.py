"""Refusal of payloads that name a version, which the request's address does instead. Pure.

Clients of other servers may put one beside their inputs. To ignore it would be to answer with
another version than the one that was meant, without a word.
"""

from collections.abc import Mapping
from typing import Any, Final

from fedbus.errors import WireError

_VERSION_KEYS: Final = ("version", "model_version")
_MAX_SHOWN: Final = 64


def refuse_version(payload: Mapping[Any, Any], model: str = "MODEL") -> None:
    """Raise WireError, with what to write instead, if a payload names a version."""
    for key in _VERSION_KEYS:
        if key in payload:
            raise WireError(
                f"{key}: a payload does not choose a version, the model's name in the topic or "
                f"the URL does: send this to {model}@{_shown(payload[key])}"
            )


def _shown(version: object) -> str:
    text = str(version) if isinstance(version, int | str) else ""
    return text if text.isalnum() and text.isascii() and len(text) <= _MAX_SHOWN else "VERSION"
