"""Lock held while TensorFlow, or a TFLite runtime, is imported.

A service loads models in several threads. While one of them imports TensorFlow, another must
neither import the runtime of `.tflite` files from it, which is half made, nor tflite-runtime, whose
symbols clash with TensorFlow's.
"""

import threading
from typing import Final

IMPORTING: Final = threading.RLock()
