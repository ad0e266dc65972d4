"""Capabilities of the device that TensorFlow computes on."""

from typing import Final

import tensorflow as tf

_AMPERE: Final = (8, 0)
"""The first compute capability of NVIDIA's GPUs with bfloat16."""


def has_bfloat16() -> bool:
    """Return whether all GPUs compute in bfloat16; most CPUs emulate it, slowly."""
    gpus = tf.config.list_physical_devices("GPU")
    details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
    return bool(gpus) and all(d.get("compute_capability", (0, 0)) >= _AMPERE for d in details)
