"""The job file: what a person sends to have a model trained, read with every fault found in one go.

aerOS names stand at the top level as they are; ours are in `round` and `plugins`. A key that nobody
knows is refused by name, what a later version implements is refused with "not yet" (the table is
`NOT_YET`), and nothing is ignored in silence. Pure.

    tree.py        bytes to a tree: size, depth, doubled keys, NaN
    model.py       the keys of a job, their types and bounds
    options.py     the keys of optimizer, scheduler, warm-up and privacy mechanisms
    not_yet.py     what this version accepts in name only
    agreement.py   keys that must agree with one another
    arguments.py   what `fedbus.training.options` has no framework for
    faults.py      faults as text and as an answer
    reading.py     all of it in order: `parse`
    params.py      what an agent is told of it
    comparison.py  whether two files say the same
    ids.py         an id for a file that leaves it out
"""

from fedbus.jobs.comparison import differences
from fedbus.jobs.faults import JobFileError, faults_in, listing, refusal
from fedbus.jobs.framework_checks import not_taken
from fedbus.jobs.job_ids import made_id
from fedbus.jobs.parser import canonical, parse, schema
from fedbus.jobs.schema import JobFile, Plugins, RoundSettings, TrainingConfig
from fedbus.jobs.training_params import params, steps_of
from fedbus.jobs.unsupported import NOT_YET
from fedbus.wire.documents import JobFault

__all__ = [
    "NOT_YET",
    "JobFault",
    "JobFile",
    "JobFileError",
    "Plugins",
    "RoundSettings",
    "TrainingConfig",
    "canonical",
    "differences",
    "faults_in",
    "listing",
    "made_id",
    "not_taken",
    "params",
    "parse",
    "refusal",
    "schema",
    "steps_of",
]
