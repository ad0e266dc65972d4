"""Options of each framework: packages, optimizers, schedulers, losses, metrics and their arguments.

Pure, and no framework is imported: job files are checked against these tables before training, and
the trainers build what they name.

    domains.py                    values that an argument may have
    torch_options.py keras_options.py tflite_options.py    the tables
    framework_table.py            packages and capabilities of each framework, by its trainer's name
    metric_kinds.py               fractions, training metrics, and whether lower or higher is better
    optimizer_memory.py           numbers that an optimizer keeps for each weight
    unsupported_options.py checks.py scheduler_checks.py    what a framework does not support
    inactive_schedulers.py        schedulers that never act within a round
"""

from fedbus.training.options.checks import accepted_args, check_supported, unsupported_options
from fedbus.training.options.domains import ArgumentDomains
from fedbus.training.options.framework_table import FRAMEWORKS, LIGHTEST_FIRST, extra_of
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
from fedbus.training.options.unsupported_options import UnsupportedOption
