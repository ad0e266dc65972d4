"""Admission of `.tflite` files to this process: verified each time, tried once."""

from collections.abc import MutableMapping
from pathlib import Path
from typing import Final

from fedbus.frameworks.file_admission import FileAdmission
from fedbus.frameworks.tflite.run_facts import check_runnable
from fedbus.frameworks.tflite.signatures import check_trainable
from fedbus.frameworks.tflite.trial import Trial, try_file
from fedbus.frameworks.tflite.verify import verify
from fedbus.model.layout import Layout
from fedbus.training.options import FRAMEWORKS

TFLITE: Final = "tflite"
"""The name of the architecture with a `.tflite` file."""
_RUNTIMES: Final = FRAMEWORKS[TFLITE].providers


class Admission(FileAdmission):
    """Decides which files this process may open, `.tflite` files by `admit`.

    Args:
        folder: As for `FileAdmission`.
        node: As for `FileAdmission`.
        trial: Runs a file once.
        tried: As for `FileAdmission`.
    """

    def __init__(
        self,
        folder: Path | None = None,
        node: str = "node",
        trial: Trial = try_file,
        tried: MutableMapping[str, tuple[bool, str]] | None = None,
    ) -> None:
        super().__init__(folder, node, tried)
        self._trial = trial

    def admit(self, data: bytes | bytearray, layout: Layout | None = None) -> str:
        """Verify a file (milliseconds), try it if it is new here, and return its digest.

        A model whose layout is empty only runs; the file of any other must be trainable.

        Raises:
            TrainingError: it is damaged, does not run, does not fit the layout, or, as a
                `FileCrash`, ended a process that opened it.
            PluginError: no TFLite runtime is installed.
        """
        facts = verify(data)
        if layout is not None and not layout.tensors:
            check_runnable(facts)
        else:
            check_trainable(facts, layout)
        return self.decide(data, _RUNTIMES, lambda: self._trial(bytes(data), facts))
