"""Catalogue of frameworks: their packages, and the arguments of what a job can ask them for.

Pure, and no framework is imported: a job file is checked against it before training, and the
trainers build what it names.

    argument.py      what an argument may be
    torch.py keras.py tflite.py    the tables
    frameworks.py    what each framework needs and can do, by the trainer's name
    figures.py       what a metric is: a share or not, of training or not, which way it is better
    memory.py        what an optimizer keeps beside the weights
    checks.py        whether a framework can do what a job asks
"""

from fedbus.training.options.checks import Objection, objections, require, taken
from fedbus.training.options.domains import Domain, Takes
from fedbus.training.options.framework_table import FRAMEWORKS, LIGHTEST_FIRST, Framework, extra_of
from fedbus.training.options.metric_kinds import (
    LOWER_IS_BETTER,
    REGRESSIONS,
    SHARES,
    TRAINED,
    as_trained,
    bounded,
    held_out,
    impossible,
    is_share,
)
from fedbus.training.options.optimizer_memory import at_most, slots

__all__ = [
    "FRAMEWORKS",
    "LIGHTEST_FIRST",
    "LOWER_IS_BETTER",
    "REGRESSIONS",
    "SHARES",
    "TRAINED",
    "Domain",
    "Framework",
    "Objection",
    "Takes",
    "as_trained",
    "at_most",
    "bounded",
    "extra_of",
    "held_out",
    "impossible",
    "is_share",
    "objections",
    "require",
    "slots",
    "taken",
]
