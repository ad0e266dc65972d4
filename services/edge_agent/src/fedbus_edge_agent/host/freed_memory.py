"""Setting of glibc: memory that an agent frees is the system's again at once.

By itself, glibc keeps blocks of up to 32 MiB once one of that size was freed. An agent with TFLite
whose model has 100,000 numbers then has 1 MB more at its peak, and
3 to 7 MB more between tasks.
"""

import ctypes
import sys
from typing import Final

FREED_BYTES: Final = 128 * 2**10
"""Larger blocks are returned when they are freed: where glibc begins before it learns."""
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3


def return_freed_memory(platform: str = sys.platform) -> bool:
    """Set the thresholds of malloc for this process; False: its C library has none."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if platform == "linux" else None
    if mallopt is None:
        return False
    settings = (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD)
    return [mallopt(setting, FREED_BYTES) for setting in settings] == [1, 1]
