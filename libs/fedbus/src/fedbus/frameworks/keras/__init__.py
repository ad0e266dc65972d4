"""Train and run Keras models, with TensorFlow behind them.

layers.py      the layers an architecture may name, and what each takes                  (no Keras)
models.py      models by name
tensors.py     a model's numbers with the layout's names, shapes, dtypes and roles
measures.py    losses and metrics by name, and truths as they take them
devices.py     what the device can do
memory.py      what an optimizer and a callback remember, as arrays
trainer.py     all of it together
"""

import logging
import os

from fedbus.frameworks.tensorflow_logs import LOG_LEVEL, suppressed_logs

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")  # else it takes all of a GPU's memory
logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns of each new length of a batch

with suppressed_logs():
    import tensorflow as tf  # Keras reads all that at import

    tf.config.list_physical_devices()  # here it looks for a GPU, and complains if there is none
    from fedbus.frameworks.keras.trainer import KerasTrainer
os.environ.setdefault(LOG_LEVEL, "2")

__all__ = ["KerasTrainer"]
