"""Error descriptions for users who cannot see an agent's traceback."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from fedbus.data.description import utf8
from fedbus.errors import FedbusError, TrainingError

MAX_ERROR_CHARACTERS = 2048


def describe_error(error: BaseException) -> str:
    """Format an error: fedbus errors as they are, others as `ValueError: … (tiny.py:14 in train)`.

    The source line is the last one of the traceback, where the error was raised.
    """
    try:
        message = utf8(str(error))[:MAX_ERROR_CHARACTERS]  # it goes into messages
    except Exception:  # noqa: BLE001 - the __str__ of a plug-in's exception may raise
        message = ""
    if isinstance(error, FedbusError) and message:
        return message
    name = type(error).__name__
    described = f"{name}: {message}" if message else name
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return described
    return f"{described} ({_position(trace.tb_frame, trace.tb_lineno)})"


def thread_position(thread: int) -> str:
    """Return the source line a thread executes, as `tiny.py:14 in train`; "" if it has ended."""
    frame = sys._current_frames().get(thread)  # noqa: SLF001 - no public function returns it
    return "" if frame is None else _position(frame, frame.f_lineno)


def _position(frame: FrameType, line: int) -> str:
    return f"{Path(frame.f_code.co_filename).name}:{line} in {frame.f_code.co_name}"


@contextmanager
def contain_exits() -> Iterator[None]:
    """Convert a plug-in's attempt to exit the process to a TrainingError of its task."""
    try:
        yield
    except (SystemExit, KeyboardInterrupt, GeneratorExit) as error:
        raise TrainingError(f"the trainer tried to exit: {describe_error(error)}") from error
