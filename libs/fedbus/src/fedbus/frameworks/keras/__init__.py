"""Training, evaluation and prediction with Keras models on TensorFlow.

architectures.py   models by name
layers.py          layers that an architecture may name, with their arguments            (no Keras)
tensors.py         a model's variables under the layout's names, shapes, dtypes and roles
losses.py          losses and metrics by name, and targets in the form they take
optimizers.py      optimizers and callbacks by name
term_variables.py  a strategy's terms in a compiled step
optimizer_state.py their state as arrays
devices.py         capabilities of the device
trainer.py         the trainer
runtime.py         models with several inputs or outputs, which only run
model_export.py    a user's model exported for agents
tflite_export.py   … and as a trainable `.tflite` file: tflite_network.py, tflite_layers.py,
                   window.py
loading.py         weights into a user's model
"""

import logging
import os

from fedbus.frameworks.tensorflow_import import IMPORTING
from fedbus.frameworks.tensorflow_logs import LOG_LEVEL, suppressed_logs

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")  # not all of it at once
logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns of each new batch size

with IMPORTING, suppressed_logs():
    import tensorflow as tf  # Keras reads these variables at import

    tf.config.list_physical_devices()  # looks for a GPU, and logs an error if there is none
    from fedbus.frameworks.keras.trainer import KerasTrainer
os.environ.setdefault(LOG_LEVEL, "2")

__all__ = ["KerasTrainer"]
