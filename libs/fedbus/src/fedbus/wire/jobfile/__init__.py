"""The job file: what a person sends to have a model trained, read with every fault found in one go.

aerOS names stand at the top level as they are; ours are in `round` and `plugins`. A key that nobody
knows is refused by name, what a later version implements is refused with "not yet" (the table is
`NOT_YET`), and nothing is ignored in silence. Pure.

    tree.py        bytes to a tree: size, depth, doubled keys, NaN
    model.py       the keys of a job, their types and bounds
    options.py     the keys of optimizer, scheduler, warm-up and privacy mechanisms
    not_yet.py     what this version accepts in name only
    agreement.py   keys that must agree with one another
    arguments.py   what `fedbus.catalogue` has no framework for
    faults.py      faults as text and as an answer
    reading.py     all of it in order: `parse`
    params.py      what an agent is told of it
    comparison.py  whether two files say the same
    ids.py         an id for a file that leaves it out
"""

from fedbus.wire.jobfile.arguments import not_taken
from fedbus.wire.jobfile.comparison import differences
from fedbus.wire.jobfile.faults import JobFileError, faults_in, listing, refusal
from fedbus.wire.jobfile.ids import made_id
from fedbus.wire.jobfile.model import JobFile, Plugins, RoundSettings, TrainingConfig
from fedbus.wire.jobfile.not_yet import NOT_YET
from fedbus.wire.jobfile.params import params, steps_of
from fedbus.wire.jobfile.reading import canonical, parse, schema
from fedbus.wire.states import JobFault

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
