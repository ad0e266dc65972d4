"""Sessions of onnxruntime: on the CPU, in one thread, without an arena of memory."""

from collections.abc import Mapping, Sequence
from threading import Timer
from typing import Any

from fedbus.errors import PluginError, TrainingError
from fedbus.model.layout import Array

_FATAL = 4


def find_onnxruntime() -> Any:  # noqa: ANN401 - a module without types
    """Import onnxruntime; raise PluginError if it is not installed, or does not load."""
    try:
        import onnxruntime  # noqa: PLC0415 - the one importer, where it is used
    except ModuleNotFoundError as error:
        raise PluginError('ONNX models need onnxruntime: pip install "fedbus[onnx]"') from error
    except Exception as error:  # whatever a broken installation may raise
        raise PluginError(f"onnxruntime does not load: {type(error).__name__}: {error}") from error
    return onnxruntime


def open_session(file: bytes) -> Any:  # noqa: ANN401 - a class without types
    """Open a verified file; raise PluginError without onnxruntime, TrainingError if refused."""
    runtime = find_onnxruntime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = options.enable_mem_pattern = False
    options.log_severity_level = _FATAL  # errors are raised, and logged by this process
    try:
        return runtime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its own classes, which derive from Exception alone
        raise TrainingError(f"onnxruntime refuses the file: {error}") from error


def run_session(
    session: Any,  # noqa: ANN401 - a class without types
    outputs: Sequence[str],
    inputs: Mapping[str, Array],
    seconds: float | None = None,
) -> list[Any]:
    """Compute outputs; raise TimeoutError if that takes longer than `seconds`, if they are given.

    onnxruntime looks between two operators, and in each turn of a loop, whether it is to end.
    """
    if seconds is None:
        return list(session.run(outputs, inputs))
    options = find_onnxruntime().RunOptions()
    options.log_severity_level = _FATAL
    timer = Timer(seconds, setattr, (options, "terminate", True))
    timer.daemon = True
    timer.start()
    try:
        return list(session.run(outputs, inputs, options))
    except Exception as error:
        if options.terminate:
            raise TimeoutError from error
        raise
    finally:
        timer.cancel()
