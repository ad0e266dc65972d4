"""Sections of the job file's page about hidden updates, smaller blobs and energy."""

from collections.abc import Iterator

from fedbus.jobs.compression_options import (
    COMPRESSING,
    OTHER_STEPS,
    SELF_CONTAINED,
    STEP_IDS,
    STEP_OPTIONS,
    StepId,
)

PROTECTION = """
## Hidden updates

With `privacy-mechanisms.homomorphic` agents encrypt their updates and the collector adds the
ciphertexts; with `privacy-mechanisms.secure-aggregation` they add masks that cancel out in the sum.
A job may have one of them, and one mechanism of the section above beside it. An empty object
chooses all defaults.

```json
{"model_name": "digits", "num_rounds": 30, "round": {"agents": 5},
 "privacy-mechanisms": {
   "secure-aggregation": {"bits": 16, "threshold": 0.67},
   "dp-fixed": {"noise_multiplier": 1.1, "clipping_norm": 1.0, "num_sampled_clients": 5}}}
```

- The aggregator is `mean`: any other rule must see single updates. So must strategies that need a
  figure of each agent (`fednova`, `qfedavg`) or add arrays to updates (`scaffold`); agents of
  `feddyn` must know which updates are in the sum, and do not.
- Encrypted, the sum is not readable either: a strategy with a server optimizer, such as `fedadam`,
  becomes `fedavg`, with a warning in the reply, and an update transform may have no half at the
  collector. Objectives of agents, such as that of `fedprox`, stay.
- Masked, the sum is readable, so server optimizers work. A round has at least 3 agents and at most
  1,000, and its `round.quorum` is at least `threshold` times `round.agents`. Without masks among
  all agents of a round (`neighbours` is less than `round.agents` - 1), the threshold is above two
  thirds: a smaller one would let a dishonest collector have different sets unmasked.
  With the defaults and more than 41 agents, 13 of the 41 agents of a neighbourhood may drop out,
  and a dishonest collector reads sums alone unless agents collude with it; a threshold of 0.72 lets
  11 drop out, and 3 collude. 100 agents that are all neighbours (`"neighbours": 99, "threshold":
  0.6`) lose 40, and 11 may collude. The reply to a job states its numbers.
- Agents send no metrics of their training.
- With a privacy mechanism the noise is that of agents: `server_side_noising` is false if left out,
  and with encryption it must be. With masks the collector may add it to the sum, as `dp-banded`
  always does. The collector cannot measure single updates, so agents are trusted to clip.
  `metric-privacy` and `mistnet` work with neither, `dp-banded` not with encryption.
- The controller needs the public key of an encrypted job: `FEDBUS_ENCRYPTION_KEY`. With its
  file as `--encryption-key`, `fedbus job check` checks a job file against it.
- `transmitter` and `download` have no effect on encrypted or masked numbers, and are refused.
"""

STEPS = """
## Smaller updates and versions

`transmitter` lists the steps that make each update smaller, in their order: first a step that
leaves numbers out, then one that writes them with fewer bits, then `zstandard`. `download` does the
same for the versions that agents download. A step is an object with `id` and `parameters`, or its
id alone; numbers that a step loses are kept on the agent and added to its next update.

```json
{"model_name": "digits", "num_rounds": 30,
 "transmitter": [{"id": "top-k", "parameters": {"fraction": 0.1}},
                 {"id": "quantize", "parameters": {"bits": 8}}, "zstandard"],
 "download": [{"id": "quantize", "parameters": {"bits": 8}}, "zstandard"]}
```

`simple`, `adaptive-freezing` and `adaptive-sync` are Sedna's transmitters. The last two are no
steps but rules: which parameters are sent at all, and how long agents train between rounds.

| step | in | what it does | parameters |
|---|---|---|---|
"""

OTHER_WORDS = """
Steps of Sedna and Plato that are refused, each with what to choose:

| step | instead |
|---|---|
"""


def step_cells() -> Iterator[tuple[str, ...]]:
    """Yield the cells of each row of the table of steps, without its parameters' column."""
    for name in STEP_IDS:
        summary = (STEP_OPTIONS[name].__doc__ or "").strip().partition("\n")[0].removesuffix(".")
        yield f"`{name}`", _places(name), summary


def other_cells() -> Iterator[tuple[str, ...]]:
    """Yield the cells of each row of the table of refused steps."""
    for name, hint in OTHER_STEPS.items():
        yield f"`{name}`", f"{hint}."


def _places(name: StepId) -> str:
    both = name in SELF_CONTAINED or name not in COMPRESSING | {
        "adaptive-freezing",
        "adaptive-sync",
    }
    return "`transmitter`, `download`" if both else "`transmitter`"
