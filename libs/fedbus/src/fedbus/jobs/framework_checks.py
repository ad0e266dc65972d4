"""Checks of a job's options against what the training frameworks accept."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from pydantic import ValidationError

from fedbus.jobs.field_types import JobFileObject
from fedbus.jobs.schema import PARTS, JobFile
from fedbus.jobs.training_params import FACTOR_RULE, arguments_of, training_params_of
from fedbus.training.options import FRAMEWORKS, UnsupportedOption, unsupported_options
from fedbus.wire.documents import JobFault

_LEAST: Final = {"training_id": "a", "model_name": "a", "num_rounds": 1}
_RULE: Final = ("warmup_iters", "warmup_factor")


def argument_faults(job: JobFile) -> Iterator[JobFault]:
    """Yield faults of options that no framework accepts, or not the job's own trainer."""
    yield from _needless(job)
    trainer = job.plugins.trainer
    yield from framework_faults(tuple(FRAMEWORKS) if trainer is None else (trainer,), job)


def framework_faults(among: Collection[str], job: JobFile) -> Iterator[JobFault]:
    """Yield faults of options that none of these frameworks accepts."""
    for option in unsupported_options(among, training_params_of(job)):
        yield _fault(option, job)


def valid_part_of(tree: Mapping[str, Any]) -> JobFile:
    """Parse the valid parts of a job file that has faults."""
    return JobFile.model_validate(_LEAST | _sound((), tree))


def _sound(path: tuple[str, ...], tree: Mapping[str, Any]) -> dict[str, Any]:
    part = PARTS[path]
    found: dict[str, Any] = {}
    for name in part.names():
        value = tree.get(name)
        below = (*path, name)
        if below in PARTS and isinstance(value, dict):
            value = _sound(below, value)
        elif below in PARTS and isinstance(value, list):
            value = [_sound(below, v) if isinstance(v, dict) else v for v in value]
        if value is not None and _valid(part, name, value):
            found[name] = value
    return found


def _valid(part: type[JobFileObject], name: str, value: object) -> bool:
    try:
        part.model_validate({**_LEAST, name: value} if part is JobFile else {name: value})
    except ValidationError as error:
        return all(each["loc"][0] != name for each in error.errors(include_url=False))
    return True


def _needless(job: JobFile) -> Iterator[JobFault]:
    """Yield faults of arguments for a scheduler or a warm-up that the job does not have."""
    if job.scheduler_config.scheduler is None:
        for name in arguments_of(job.scheduler_config):
            yield JobFault(
                key=f"scheduler_config.{name}", problem="no scheduler takes it", hint="name one"
            )
    warmup = job.warmup_config
    asked = [name for name in ("scheduler", *_RULE) if getattr(warmup, name) is not None]
    if warmup.warmup_epochs is None and asked:
        hint = "0 is none"
        yield JobFault(key="warmup_config.warmup_epochs", problem="missing", hint=hint)
    if not warmup.warmup_epochs:
        return
    if warmup.scheduler in FACTOR_RULE and warmup.scheduler_conf.lr_lambda is None:
        for name in _RULE:
            if getattr(warmup, name) is None:
                yield JobFault(
                    key=f"warmup_config.{name}", problem="missing: the factor rule needs it"
                )
        for name in arguments_of(warmup.scheduler_conf):
            yield JobFault(
                key=f"warmup_config.scheduler_conf.{name}",
                problem="not an argument of the factor rule",
            )
    else:
        for name in _RULE:
            if getattr(warmup, name) is not None:
                problem = f"not an argument of {warmup.scheduler or 'a scheduler'}"
                yield JobFault(key=f"warmup_config.{name}", problem=problem)


def _fault(option: UnsupportedOption, job: JobFile) -> JobFault:
    key = option.key
    if option.item:
        written = job.eval_metrics if "eval_metrics" in job.model_fields_set else ()
        if option.item in written:
            key = f"{key}[{written.index(option.item)}]"
        elif option.item in job.targets:
            key = f"stopping_target.{option.item}"
    return JobFault(key=key, problem=option.problem, hint=option.hint)
