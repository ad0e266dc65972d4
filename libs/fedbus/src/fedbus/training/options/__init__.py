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

from fedbus.training.options.checks import (
    UnsupportedOption,
    accepted_args,
    check_supported,
    unsupported_options,
)
from fedbus.training.options.domains import ArgumentDomains, Domain
from fedbus.training.options.framework_table import FRAMEWORKS, LIGHTEST_FIRST, Framework, extra_of
from fedbus.training.options.metric_kinds import (
    FRACTIONS,
    LOWER_IS_BETTER,
    REGRESSIONS,
    TRAINING_PREFIX,
    as_training_metrics,
    clip_fraction,
    impossible_metric,
    is_fraction,
    without_training_metrics,
)
from fedbus.training.options.optimizer_memory import peak_state_slots, state_slots

__all__ = [
    "FRACTIONS",
    "FRAMEWORKS",
    "LIGHTEST_FIRST",
    "LOWER_IS_BETTER",
    "REGRESSIONS",
    "TRAINING_PREFIX",
    "ArgumentDomains",
    "Domain",
    "Framework",
    "UnsupportedOption",
    "accepted_args",
    "as_training_metrics",
    "check_supported",
    "clip_fraction",
    "extra_of",
    "impossible_metric",
    "is_fraction",
    "peak_state_slots",
    "state_slots",
    "unsupported_options",
    "without_training_metrics",
]
