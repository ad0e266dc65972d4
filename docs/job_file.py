"""Make `docs/job-file.md` of the job file's model and the catalogue of what frameworks take."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import TypeAdapter
from pydantic.fields import FieldInfo

from fedbus.jobs.field_types import JobFileObject
from fedbus.jobs.options import OptimizerConfig, SingleSchedulerConfig
from fedbus.jobs.schema import PARTS, RENAMED_KEYS
from fedbus.jobs.unsupported import UNSUPPORTED_KEYS
from fedbus.training.options import FRAMEWORKS, ArgumentDomains
from fedbus.training.options.torch_options import BY_STEP, LAMBDAS

HEAD = """# The job file

Generated from `fedbus/jobs/` and `fedbus/training/options/` by `make docs`; do not edit.

A job is one JSON object, sent with `fedbus job submit FILE` or published to `fedbus/v1/submit` by
any MQTT client. Every key of an aerOS job is understood; numbers and flags may be written as text
(`"64"`, `"0.005"`, `"True"`), and `null` is as good as leaving a key out. All faults of a file are
found in one go, each with its key and the nearest valid one, before anybody trains. An argument
that the chosen optimizer, scheduler or callback does not take is a fault that names those it takes.
What only the model can tell (there is none of that name, it is being trained, no framework of it
takes what the job asks) is looked up for a file without faults, so it may be a second answer.

```json
{"training_id": "first", "model_name": "digits", "num_rounds": 30,
 "config": [{"batch_size": 16, "epochs": 2, "learning_rate": 0.2}],
 "stopping_target": {"accuracy": 0.9}, "round": {"agents": 3}}
```

## Send one again

A job is known by its id. The same file under the same id is the same job, so a client that is not
sure that it was heard may send it again; files are the same when they say the same, whatever the
order of their keys, white space, the form of numbers and the defaults they state. The answer then
has `"known": true`, how the job stands (`phase`, `rounds`, `metrics`, `submitted`, `ended`) and a
`note`; a job that has ended is not run again. Another file under a known id is refused, with the
keys in which the two differ.

```
$ fedbus job submit job.json              # job first finished already at …; nothing runs
$ fedbus job submit job.json --again      # accepted: job first.2
$ fedbus job submit job.json --id second
$ fedbus job forget first first.2         # listed no more; their versions and their ids stay
```

Without `training_id` an id is made (`digits-20261129-085328-4f1c`), and the answer names it. A
request with the same reply topic and correlation data is the same job. Without correlation data the
same file from the same reply topic, or from none, is the same job for 120 seconds (eight times the
repository's `FEDBUS_LEASE_SECONDS`, if that is more), and a new one later; what the broker delivers
again after a crash is the job that it became, whenever that is. A model is trained by one job at a
time; another one for it is refused until that has ended.

## Try one

With no broker, on the digits of scikit-learn, dealt to eight agents:

```
$ fedbus simulate examples/digits/job.json --agents 8
```

"""

EARLIER_NAMES = """
### Earlier names

A key of an earlier name is a fault that states the present name.

| earlier | now |
|---|---|
"""

OPTIMIZERS = """
## Optimizers

The learning rate is `lr` or `learning_rate` here, else that of `config`, else 0.01. What a job
leaves out is the framework's own default. With `round.keep_optimizer_state` each agent keeps the
state of its optimizer between rounds; without it every round starts with a new optimizer. A
`.tflite` file keeps its state if it was exported with `get_state` and `set_state`, as
`fedbus models push` does.

"""

SCHEDULERS = """
## Schedulers and callbacks

`monitor` names a metric that is measured while training (`val_loss` is read as `loss`). In
PyTorch {by_step} step after each batch, the others after each epoch. `chainedscheduler` and
`sequentiallr` are made of `schedulers`, a list of objects like this one. Each part of a chain steps
at its own time; a sequence has one count, of batches where one of its parts steps after each, else
of epochs, and its `milestones` are counted so.

Without `round.keep_optimizer_state` a scheduler or callback starts again in every round: with
`epochs: 1` one that acts after an epoch has no effect. `fedbus job submit` and `fedbus simulate`
warn of it.

"""

RULES = """
### Functions for `lr_lambda`

No code crosses the bus, so `lambdalr` and `multiplicativelr` take a function by name; its
parameters stand beside it. x is the number of epochs done.

| `lr_lambda` | the factor | parameters |
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
OF_CATALOGUE = (OptimizerConfig, SingleSchedulerConfig)


def write() -> str:
    """Make the whole page."""
    parts = [HEAD, "## Keys\n"]
    for path, part in PARTS.items():
        if path and not issubclass(part, OF_CATALOGUE):
            parts.append(f"\n### `{'.'.join(path)}`\n")
            parts.append(f"\n{_first(part)}\n")
        if not issubclass(part, OF_CATALOGUE):
            parts.append(_keys(path, part))
    parts.append(EARLIER_NAMES)
    parts.extend(_row(f"`{old}`", f"`{new}`") for old, new in RENAMED_KEYS.items())
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


def _keys(path: tuple[str, ...], part: type[JobFileObject]) -> str:
    rows = [
        _row(f"`{field.alias or name}`", _kind(field), _default(field), _said(path, name, field))
        for name, field in part.model_fields.items()
    ]
    return "\n| key | what | default | |\n|---|---|---|---|\n" + "".join(rows)


def _said(path: tuple[str, ...], name: str, field: FieldInfo) -> str:
    key = ".".join((*path, field.alias or name))
    sentence = field.description or ""
    if key in UNSUPPORTED_KEYS:
        return f"{sentence} **Not yet.**".strip()
    return sentence


def _kind(field: FieldInfo) -> str:
    schema = TypeAdapter(field.annotation).json_schema()
    for bound in field.metadata:
        for name, key in (("ge", "minimum"), ("le", "maximum"), ("gt", "exclusiveMinimum")):
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
    )
    return ", ".join([WORDS[kind], *(f"{said} {n:,}" for said, n in bounds if n is not None)])


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    if field.default_factory is not None:
        return "see there"
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
    said = (
        f"`{name}` ({domain}{', required' if domain.required else ''})"
        for name, domain in takes.items()
    )
    return "; ".join(said) or "none"


def _words(names: frozenset[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))


def _first(part: type[JobFileObject]) -> str:
    return (part.__doc__ or "").strip().partition("\n")[0]


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"
