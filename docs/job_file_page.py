"""Generator of `docs/job-file.md` from the job file's schema and the frameworks' options."""

from collections.abc import Iterator, Mapping
from typing import Any

from job_file_links import OTHER_WORDS, PROTECTION, STEPS, other_cells, step_cells
from job_file_privacy import PRIVACY, PRIVACY_RULES, mechanism_cells
from pydantic import TypeAdapter
from pydantic.fields import FieldInfo

from fedbus.jobs.compression_options import STEP_IDS, STEP_OPTIONS, StepOptions
from fedbus.jobs.field_types import JobFileObject
from fedbus.jobs.foreign_keys import REFUSED_KEYS, SERVER_KEYS, STRATEGY_KEYS
from fedbus.jobs.foreign_privacy import (
    ALGORITHM_KEYS,
    SERVER_PRIVACY_KEYS,
    TRAINER_PRIVACY_KEYS,
)
from fedbus.jobs.foreign_protection import FLOWER_PROTECTION_KEYS
from fedbus.jobs.key_translation import ForeignKey
from fedbus.jobs.options import OptimizerConfig, SingleSchedulerConfig
from fedbus.jobs.schema import PARTS, RENAMED_KEYS
from fedbus.strategies.catalog import PART_GROUPS, shipped_parts, shipped_strategies
from fedbus.strategies.factory_parameters import FactoryParameter
from fedbus.strategies.parameter_names import SYNONYMS
from fedbus.training.options import FRAMEWORKS, ArgumentDomains
from fedbus.training.options.torch_options import BY_STEP, LAMBDAS

HEAD = """# The job file

Generated from `fedbus/jobs/` and `fedbus/training/options/` by `make docs`; do not edit.

A job file is one JSON object, sent with `fedbus job submit FILE` or published to
`fedbus/v1/submit` by any MQTT client. Every key of an aerOS job is accepted; numbers and flags may
be written as text (`"64"`, `"0.005"`, `"True"`), and `null` has the effect of an absent key. All
faults of a file are reported together, each with its key and the most similar valid key, before any
agent trains. An argument that the chosen optimizer, scheduler or callback does not take is a fault;
its message lists the valid arguments. A file without faults is then checked against the model: the
model must exist, must not be in training, and must have a framework that supports the job's
options.

```json
{"training_id": "first", "model_name": "digits", "num_rounds": 30,
 "config": [{"batch_size": 16, "epochs": 2, "learning_rate": 0.2}],
 "stopping_target": {"accuracy": 0.9}, "round": {"agents": 3}}
```

## Submit a job again

A job is identified by its id. An equal file with the same id is the same job, so a client that got
no reply may send the file again. Files are equal when they have the same content: the order of
keys, white space, the form of numbers and stated defaults do not matter. The reply then has
`"known": true`, the state of the job (`phase`, `rounds`, `metrics`, `submitted`, `ended`) and a
`note`; a job that has ended is not run again. A different file with a known id is refused, and the
reply names the keys that differ.

```
$ fedbus job submit job.json              # job first finished already at …; nothing runs
$ fedbus job submit job.json --again      # accepted: job first.2
$ fedbus job submit job.json --id second
$ fedbus job forget first first.2         # no longer listed; versions and ids are kept
```

Without `training_id` an id is generated (`digits-20261129-085328-4f1c`) and stated in the reply. A
request with the same response topic and correlation data is the same job. Without correlation data,
an equal file with the same response topic, or with none, is the same job for 120 seconds (eight
times the repository's `FEDBUS_LEASE_SECONDS`, if that is more), and a new job after that. A request
that the broker delivers again after a crash is always the job that was created from it. A model is
trained by one job at a time: a second job for it is refused until the first has ended.

## Try one

Without a broker, on scikit-learn's digits, partitioned among eight agents:

```
$ fedbus simulate examples/digits/job.json --agents 8
```

"""

EARLIER_NAMES = """
### Earlier names

A key with an earlier name is a fault; its message states the new name.

| earlier | now |
|---|---|
"""

FOREIGN_KEYS = """
### Keys of other systems

Files of aerOS and ASSIST-IoT have `strategy_conf` and `server_conf`, and the strategies of Flower
and AI4OS take the same words as parameters: these keys are also read among `strategy.parameters`.
Each becomes a key here; if a file has both, their values must be equal. Any other key of
`strategy_conf` is a parameter of the strategy. AI4OS's flags of privacy are read in `server_conf`,
Plato's words about DP-SGD in `privacy-mechanisms.dp-sgd`, Flower's about SecAgg+ in
`privacy-mechanisms.secure-aggregation`, and Sedna's `algorithm` at the top.

| key | becomes | how |
|---|---|---|
"""

SYNONYM_WORDS = """
A parameter that no part of a strategy takes is read by its name in other systems:

| name | parameter |
|---|---|
"""

STRATEGIES = """
## Strategies

A strategy is an aggregator, and perhaps a server optimizer and an objective of agents: `strategy`
names it by an id, or replaces single parts. The ids of aggregators are strategies too. A parameter
reaches each part that takes it; its kind and value are checked when the job is submitted, and so
is whether the strategy can work with the rest of the job: Krum and Bulyan need a `round.quorum`
that is large enough, SCAFFOLD needs `strategy.population` and plain SGD. Ids are read without
regard to case, `-` and `_`, and with or without `fed`: `FedAdam`, `fed_adam` and `adam` are
`fedadam`, and aerOS's `avg` is `fedavg`. `fedbus plugins` lists them with those that are installed
besides, `fedbus plugins show NAME` shows the parameters of each, and
[strategies.md](strategies.md) says which one to choose.

```json
{"model_name": "digits", "num_rounds": 30, "round": {"agents": 3},
 "strategy": {"id": "fedadam", "parameters": {"server_learning_rate": 0.05}}}
```

| id | aggregator | server optimizer | objective | parameters |
|---|---|---|---|---|
"""

PARTS_OF_STRATEGIES = """
### Parts

`strategy.aggregator`, `strategy.server_optimizer`, `strategy.objective` and
`strategy.update_transforms` name parts of one's own choice, each with its own parameters.

| part | id | parameters |
|---|---|---|
"""

OPTIMIZERS = """
## Optimizers

The learning rate is `lr` or `learning_rate` of `optimizer_config`, else that of `config`, else
0.01. An argument that the job leaves out has the framework's default. With
`round.keep_optimizer_state` each agent keeps the state of its optimizer between rounds; otherwise
each round starts with a new optimizer. A `.tflite` file supports this if it was exported with
`get_state` and `set_state`, as `fedbus models push` does.

"""

SCHEDULERS = """
## Schedulers and callbacks

`monitor` names a metric that is measured during training (`val_loss` is read as `loss`). In
PyTorch {by_step} step after each batch, all others after each epoch. `chainedscheduler` and
`sequentiallr` combine the schedulers of the list `schedulers`, each an object like this one. Each
part of a chain steps after its own unit, a batch or an epoch. A sequence has one unit, in which its
`milestones` are counted: batches if one of its parts steps after each batch, else epochs.

Without `round.keep_optimizer_state` a scheduler or callback starts again in each round: with
`epochs: 1`, one that acts after an epoch has no effect. `fedbus job submit` and `fedbus simulate`
warn of it.

"""

RULES = """
### Functions for `lr_lambda`

No code crosses the bus, so `lambdalr` and `multiplicativelr` take a function by its name, with its
parameters as further keys. x is the number of finished epochs.

| `lr_lambda` | factor | parameters |
|---|---|---|
"""

FORMULAS = {
    "constant": "factor",
    "exponential": "gamma ^ x",
    "step": "gamma ^ floor(x / step_size)",
    "inverse": "1 / (1 + decay · x)",
    "linear": "from start_factor to end_factor over total_iters",
    "polynomial": "(1 - x / total_iters) ^ power",
    "cosine": "(1 + cos(π · x / total_iters)) / 2",
}
WORDS = {
    "ref": "an object, see below",
    "object": "an object",
    "boolean": "true or false",
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
}
_BOUNDS = (
    ("ge", "minimum"),
    ("le", "maximum"),
    ("gt", "exclusiveMinimum"),
    ("lt", "exclusiveMaximum"),
)
FRAMEWORK_OPTIONS = (OptimizerConfig, SingleSchedulerConfig)


def write() -> str:
    """Return the page."""
    parts = [HEAD, "## Keys\n"]
    for path, part in PARTS.items():
        if path and not issubclass(part, FRAMEWORK_OPTIONS):
            parts.append(f"\n### `{'.'.join(path)}`\n")
            parts.append(f"\n{_first(part)}\n")
        if not issubclass(part, FRAMEWORK_OPTIONS):
            parts.append(_keys(part))
    parts.append(EARLIER_NAMES)
    parts.extend(_row(f"`{old}`", f"`{new}`") for old, new in RENAMED_KEYS.items())
    parts.append(FOREIGN_KEYS)
    parts.extend(_foreign_rows())
    parts.append(STRATEGIES)
    parts.extend(_strategy_rows())
    parts.append(SYNONYM_WORDS)
    parts.extend(_row(f"`{other}`", f"`{name}`") for other, name in SYNONYMS.items())
    parts.append(PARTS_OF_STRATEGIES)
    parts.extend(_part_rows())
    parts.append(PRIVACY)
    parts.extend(_row(*cells) for cells in mechanism_cells())
    parts.append(PRIVACY_RULES)
    parts.append(PROTECTION)
    parts.append(STEPS)
    parts.extend(
        _row(*cells, _step_parameters(STEP_OPTIONS[name]))
        for name, cells in zip(STEP_IDS, step_cells(), strict=True)
    )
    parts.append(OTHER_WORDS)
    parts.extend(_row(*cells) for cells in other_cells())
    parts.append(OPTIMIZERS)
    parts.extend(_table("optimizer", {n: f.optimizers for n, f in FRAMEWORKS.items()}))
    parts.append(SCHEDULERS.format(by_step=" and ".join(f"`{name}`" for name in sorted(BY_STEP))))
    parts.extend(_table("scheduler", {n: f.schedulers for n, f in FRAMEWORKS.items()}))
    parts.append(RULES)
    parts.extend(
        _row(f"`{name}`", FORMULAS[name], _arguments(takes)) for name, takes in LAMBDAS.items()
    )
    parts.append("\n## Losses (`eval_func`) and metrics (`eval_metrics`)\n\n")
    parts.append("| framework | losses | metrics |\n|---|---|---|\n")
    parts.extend(
        _row(name, _words(has.losses), _words(has.metrics)) for name, has in FRAMEWORKS.items()
    )
    return "".join(parts)


FOREIGN_TABLES: tuple[tuple[str, Mapping[str, ForeignKey]], ...] = (
    ("server_conf", SERVER_KEYS),
    ("server_conf", SERVER_PRIVACY_KEYS),
    ("strategy_conf", STRATEGY_KEYS),
    ("privacy-mechanisms.dp-sgd", TRAINER_PRIVACY_KEYS),
    ("privacy-mechanisms.secure-aggregation", FLOWER_PROTECTION_KEYS),
    ("algorithm", ALGORITHM_KEYS),
)


def _foreign_rows() -> Iterator[str]:
    for above, keys in FOREIGN_TABLES:
        for word, key in keys.items():
            yield _row(f"`{above}.{word}`", f"`{key.to}`" if key.to else "refused", key.note)
    for name, hint in REFUSED_KEYS.items():
        yield _row(f"`{name}`", "refused", f"{hint}.")


def _strategy_rows() -> Iterator[str]:
    for each in shipped_strategies():
        preset = each.preset
        parts = (preset.aggregator, preset.server_optimizer, preset.objective)
        names = (f"`{part.id}`" if part else "" for part in parts)
        yield _row(f"`{each.id}`", *names, _parameters(each.parameters))


def _part_rows() -> Iterator[str]:
    for group in PART_GROUPS:
        if group == "update_transforms":  # the mechanisms of `privacy-mechanisms`
            continue
        what = group.removesuffix("s").replace("_", " ")
        for name, parameters in shipped_parts(group):
            yield _row(what, f"`{name}`", _parameters(parameters))


def _parameters(parameters: Mapping[str, FactoryParameter]) -> str:
    each = (f"`{name}` ({_parameter(parameter)})" for name, parameter in parameters.items())
    return "; ".join(each) or "none"


def _parameter(parameter: FactoryParameter) -> str:
    if parameter.required:
        return f"{parameter.expected}, required"
    if parameter.default is None:
        return f"{parameter.expected}, may be left out"
    value = parameter.default
    shown = str(value).lower() if isinstance(value, bool) else value
    return f"{parameter.expected}, `{shown}`"


def _keys(part: type[JobFileObject]) -> str:
    rows = [
        _row(
            f"`{field.alias or name}`",
            _kind(field),
            _default(field),
            field.description or "",
        )
        for name, field in part.model_fields.items()
    ]
    return "\n| key | value | default | meaning |\n|---|---|---|---|\n" + "".join(rows)


def _step_parameters(options: type[StepOptions]) -> str:
    each = (
        f"`{name}` ({_kind(field)}, {_default(field)}): {field.description}"
        for name, field in options.model_fields.items()
    )
    return " ".join(each) or "none"


def _kind(field: FieldInfo) -> str:
    schema = TypeAdapter(field.annotation).json_schema()
    for bound in field.metadata:
        for name, key in _BOUNDS:
            if (value := getattr(bound, name, None)) is not None:
                schema[key] = value
    return _of_schema(schema)


def _of_schema(schema: Mapping[str, Any]) -> str:
    if "anyOf" in schema:
        first = next(each for each in schema["anyOf"] if each.get("type") != "null")
        return _of_schema({**{k: v for k, v in schema.items() if k != "anyOf"}, **first})
    if "enum" in schema:
        return "one of " + ", ".join(f"`{word}`" for word in schema["enum"])
    kind = "ref" if "$ref" in schema or "properties" in schema else schema.get("type", "text")
    if kind == "array":
        return "a list" + (", see below" if "$ref" in schema.get("items", {}) else "")
    if kind == "object" and schema.get("additionalProperties", {}).get("type") == "number":
        return f"{WORDS[kind]} of numbers"
    bounds = (
        ("at least", schema.get("minimum")),
        ("more than", schema.get("exclusiveMinimum")),
        ("at most", schema.get("maximum")),
        ("less than", schema.get("exclusiveMaximum")),
    )
    return ", ".join([WORDS[kind], *(f"{words} {n:,}" for words, n in bounds if n is not None)])


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    if field.default_factory is not None:
        return "see right"
    value = field.default
    if value is None or isinstance(value, JobFileObject) or value in ((), {}):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{', '.join(map(str, value))}`" if isinstance(value, tuple) else f"`{value}`"


def _table(what: str, tables: Mapping[str, Mapping[str, ArgumentDomains]]) -> Iterator[str]:
    yield f"| {what} | in | arguments |\n|---|---|---|\n"
    for framework, kinds in tables.items():
        for name, takes in kinds.items():
            yield _row(f"`{name}`", framework, _arguments(takes))


def _arguments(takes: ArgumentDomains) -> str:
    arguments = (
        f"`{name}` ({domain}{', required' if domain.required else ''})"
        for name, domain in takes.items()
    )
    return "; ".join(arguments) or "none"


def _words(names: frozenset[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))


def _first(part: type[JobFileObject]) -> str:
    return (part.__doc__ or "").strip().partition("\n")[0]


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"
