"""Limits that several modules enforce: sizes and counts of what crosses the bus. Pure.

A limit of a single module stands in that module, under a name that no other module uses.
"""

from typing import Final

MAX_MESSAGE_BYTES: Final = 2**20
"""The largest message that is read; the broker's `max_packet_size` is the same."""
MAX_INLINE_WEIGHTS_BYTES: Final = 16 * 1024
"""A version up to this size is sent whole in the report of its round and in the next tasks."""
MAX_SPEC_BYTES: Final = MAX_MESSAGE_BYTES
"""A model spec; it is read like any message."""
MAX_SPEC_FILE_BYTES: Final = 256 * 2**20
"""A file of an architecture in a spec; an agent holds it in memory."""
MAX_JOB_FILE_BYTES: Final = 256 * 1024
"""A job file: a quarter of a message, in which it is sent together with the job's record."""
MAX_BLOB_BYTES: Final = 64 * 2**30
"""The largest blob, and so the largest model."""

MAX_IDENT_CHARACTERS: Final = 64
"""An identifier: the name of a job, a model, a metric, or of a node without its role."""
MAX_WORD_CHARACTERS: Final = 256
"""A word that a user chose: an option of a plug-in, the name of a class."""
MAX_TEXT_CHARACTERS: Final = 4096
"""A sentence: the reason of a refusal, a fault of a job file. Longer ones are cut."""

MAX_METRICS: Final = 64
"""Metrics of one training or evaluation."""
MAX_TRANSFORMS: Final = 64
"""Steps of one pipeline."""
MAX_COMPRESSION_STEPS: Final = 8
"""Steps that make an update or a version smaller."""
MAX_SCHEDULERS: Final = 16
"""Schedulers of one training."""
MAX_FAULTS_SENT: Final = 256
"""Faults of a job file in one message."""
MAX_COHORT_AGENTS: Final = 10_000
"""Agents that one round may ask."""

MAX_STRUCTURES: Final = 16
"""Architectures in a model spec."""
MAX_ALIASES: Final = 64
"""Aliases of one model."""
MAX_TAGS: Final = 1_000
"""Tags of one model; each keeps the weights of a version."""
MAX_ROLL_BACKS: Final = 100
"""Earlier versions of an alias that repeated roll-backs can return to."""
MAX_CLASS_NAMES: Final = 100_000
"""Class names in a model spec: enough for the largest public data sets."""
MAX_TENSORS: Final = 4096
"""Tensors of a layout."""
MAX_TENSOR_NAME_CHARACTERS: Final = 256
"""The name of a tensor."""
MAX_DIMENSIONS: Final = 8
"""Dimensions of an array: a tensor of a model, or a row of data."""
MAX_MODEL_NUMBERS: Final = 2**28
"""Numbers in a model that an agent builds from its spec, and in one example between its layers."""
MAX_SHOWN_KEPT: Final = 1_000
"""Versions with weights in one answer about a model; pushed versions keep theirs, so they may be
more: if an answer has fewer, it has all."""
