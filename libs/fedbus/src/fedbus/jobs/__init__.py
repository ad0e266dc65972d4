"""The job file: schema, parser and checks that find all faults of a file at once.

aerOS's keys are at the top level; keys of fedbus are in `round` and `plugins`. An unknown key is a
fault: no key is ignored without notice. Pure.
"""

from fedbus.jobs.comparison import differences
from fedbus.jobs.configuration import configuration_id, configuration_of
from fedbus.jobs.framework_checks import framework_faults
from fedbus.jobs.job_ids import generate_job_id
from fedbus.jobs.parser import canonical, parse, schema
from fedbus.jobs.plugin_options import Plugins, StrategyConfig
from fedbus.jobs.schema import JobFile
from fedbus.jobs.training_params import choice_of, training_params_of, transforms_of
from fedbus.wire.documents import JobFault
from fedbus.wire.job_faults import JobFileError, format_faults, read_refusal, write_refusal
