"""Generated job ids, for job files without one. Pure."""

import hashlib

from fedbus.wire.identifiers import Timestamp

_MAX_MODEL_CHARACTERS = 40


def generate_job_id(model: str, timestamp: Timestamp | None, random_bytes: bytes) -> str:
    """Return an id such as `digits-20261129-085328-4f1c`; without a timestamp it is only random.

    The same arguments give the same id.
    """
    digits = hashlib.sha256(random_bytes).hexdigest()
    if timestamp is None:
        return f"{model[:_MAX_MODEL_CHARACTERS]}-{digits[:12]}"
    day, _, clock = timestamp.partition("T")
    when = f"{day.replace('-', '')}-{clock[:8].replace(':', '')}"
    return f"{model[:_MAX_MODEL_CHARACTERS]}-{when}-{digits[:4]}"
