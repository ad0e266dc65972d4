"""Train and run PyTorch models, on the GPU when there is one.

models.py        architectures by name
tensors.py       a net's numbers with the layout's names, shapes, dtypes and roles
devices.py       where PyTorch computes, and what that can do
optimizers.py    the 13 optimizers, LBFGS with its closure, SparseAdam with sparse gradients
schedules.py     the 14 schedulers, and warm-up
ending.py        what a net's last operation is: a softmax, a sigmoid, or neither
losses.py        losses by name, and outputs and truths as they take them
figures.py       metrics by name
memory.py        what an optimizer and a schedule remember, as arrays
trainer.py       all of it together
"""

from fedbus.frameworks.torch.architectures import ARCHITECTURES
from fedbus.frameworks.torch.trainer import TorchTrainer

__all__ = ["ARCHITECTURES", "TorchTrainer"]
