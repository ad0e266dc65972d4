"""Ids for job files that leave theirs out. Pure."""

import hashlib

from fedbus.wire.identifiers import Timestamp

_LONGEST_MODEL = 40


def generate_job_id(model: str, moment: Timestamp | None, chance: bytes) -> str:
    """Name a job: `digits-20261129-085328-4f1c`; without a moment by chance alone.

    The same chance at the same moment is the same id.
    """
    digits = hashlib.sha256(chance).hexdigest()
    if moment is None:
        return f"{model[:_LONGEST_MODEL]}-{digits[:12]}"
    day, _, clock = moment.partition("T")
    when = f"{day.replace('-', '')}-{clock[:8].replace(':', '')}"
    return f"{model[:_LONGEST_MODEL]}-{when}-{digits[:4]}"
