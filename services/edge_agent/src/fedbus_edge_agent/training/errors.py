"""How a failure of somebody's code is told to those who cannot see its traceback."""

import sys
import threading
from pathlib import Path
from types import FrameType

from fedbus.data.description import utf8
from fedbus.errors import FedbusError

MAX_ERROR_CHARACTERS = 2048


def describe_error(error: BaseException) -> str:
    """Tell an error: ours as they are, others as `ValueError: … (tiny.py:14 in train)`.

    The place is the traceback's last line, which is where it was raised.
    """
    try:
        words = utf8(str(error))[:MAX_ERROR_CHARACTERS]  # it goes into messages
    except Exception:  # noqa: BLE001 - somebody's own exception may fail even at that
        words = ""
    if isinstance(error, FedbusError) and words:
        return words
    name = type(error).__name__
    told = f"{name}: {words}" if words else name
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return told if trace is None else f"{told} ({_place(trace.tb_frame, trace.tb_lineno)})"


def this_thread() -> int:
    """Name the calling thread, for `place_of`."""
    return threading.get_ident()


def thread_position(thread: int) -> str:
    """Say where a thread is at this moment: `tiny.py:14 in train`; nothing if it is no more."""
    frame = sys._current_frames().get(thread)  # noqa: SLF001 - there is no other way to look
    return "" if frame is None else _place(frame, frame.f_lineno)


def _place(frame: FrameType, line: int) -> str:
    return f"{Path(frame.f_code.co_filename).name}:{line} in {frame.f_code.co_name}"
