"""Training, evaluation and prediction with PyTorch models, on the GPU if there is one.

architectures.py   models by name
tensors.py         a module's tensors under the layout's names, shapes, dtypes and roles
devices.py         the device, and its capabilities
optimizers.py      the 13 optimizers, LBFGS with its closure, SparseAdam with sparse gradients
term_gradients.py  gradients of a strategy's terms
schedules.py       the 14 schedulers, and warm-up
output_layer.py    a module's last operation: softmax, sigmoid, or another
losses.py          losses by name, and outputs and targets in the form they take
metrics.py         metrics by name
optimizer_state.py state of an optimizer and a schedule as arrays
predictions.py     outputs as arrays by name
example_gradients.py dp_sgd_checks.py private_steps.py    DP-SGD, with Opacus
trainer.py         the trainer
model_export.py    a user's module exported for agents
loading.py         weights into a user's module
"""

from fedbus.frameworks.torch.architectures import ARCHITECTURES
from fedbus.frameworks.torch.trainer import TorchTrainer

__all__ = ["ARCHITECTURES", "TorchTrainer"]
