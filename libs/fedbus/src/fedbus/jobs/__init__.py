"""The job file: what a person sends to have a model trained, read with every fault found in one go.

aerOS names stand at the top level as they are; ours are in `round` and `plugins`. A key that nobody
knows is refused by name, what a later version implements is refused with "not yet" (the table is
`UNSUPPORTED_KEYS`), and nothing is ignored in silence. Pure.

    tree.py        bytes to a tree: size, depth, doubled keys, NaN
    model.py       the keys of a job, their types and bounds
    options.py     the keys of optimizer, scheduler, warm-up and privacy mechanisms
    unsupported_faults.py     what this version accepts in name only
    agreement.py   keys that must agree with one another
    arguments.py   what `fedbus.training.options` has no framework for
    faults.py      faults as text and as an answer
    reading.py     all of it in order: `parse`
    params.py      what an agent is told of it
    comparison.py  whether two files say the same
    ids.py         an id for a file that leaves it out
"""

from fedbus.jobs.comparison import differences
from fedbus.jobs.faults import JobFileError, format_faults, read_refusal, write_refusal
from fedbus.jobs.framework_checks import framework_faults
from fedbus.jobs.job_ids import generate_job_id
from fedbus.jobs.parser import canonical, parse, schema
from fedbus.jobs.schema import JobFile, Plugins, RoundSettings, TrainingConfig
from fedbus.jobs.training_params import training_params_of, transforms_of
from fedbus.jobs.unsupported import UNSUPPORTED_KEYS
from fedbus.wire.documents import JobFault

__all__ = [
    "UNSUPPORTED_KEYS",
    "JobFault",
    "JobFile",
    "JobFileError",
    "Plugins",
    "RoundSettings",
    "TrainingConfig",
    "canonical",
    "differences",
    "format_faults",
    "framework_faults",
    "generate_job_id",
    "parse",
    "read_refusal",
    "schema",
    "training_params_of",
    "transforms_of",
    "write_refusal",
]
