"""Section of the job file's page about privacy: what each mechanism promises, and its rules."""

from collections.abc import Iterator, Mapping

from fedbus.jobs.privacy_choice import MECHANISMS
from fedbus.jobs.schema import PARTS, JobFile
from fedbus.strategies.privacy_terms import privacy_terms

PRIVACY = """
## Privacy

`privacy-mechanisms` chooses one mechanism, and with `accounting` what its ε is computed for. It is
resolved when the job is submitted: `fedbus job check FILE` shows the result without a broker, with
the ε of the whole job. Which mechanism to choose, what its ε covers and what still leaks is on the
page [Privacy](privacy.md).

```json
{"model_name": "digits", "num_rounds": 30, "strategy": {"id": "fedavg", "population": 1000},
 "privacy-mechanisms": {
   "dp-fixed": {"noise_multiplier": 1.1, "clipping_norm": 1.0, "num_sampled_clients": 20},
   "accounting": {"target_epsilon": 4.0, "sampling": "poisson"}}}
```

| mechanism | what it is | protects | who adds the noise | data sets that ε cannot tell apart |
|---|---|---|---|---|
"""

PRIVACY_RULES = """
With a mechanism:

- `round.agents` is `num_sampled_clients`, if the mechanism has it, and may be left out. With
  Poisson sampling there is no `round.quorum`.
- Every update counts equally, and with the `dp-` mechanisms of agents and `metric-privacy` the mean
  is divided by `num_sampled_clients`, whatever number came; with `homomorphic` by the number that
  came.
- Agents send no metrics of their training, and no figures about it: a strategy that needs `steps`
  or `base_loss` of each agent (`fednova`, `qfedavg`) is refused, and so is one that adds arrays to
  updates (`scaffold`, `feddyn`). Server optimizers and the objective `proximal` cost no privacy.
- One agent changes `mean` by 1/`num_sampled_clients` of the clipping norm at most. What another
  aggregator returns is clipped, and may change by twice the norm: with the same noise, ε is that of
  `noise_multiplier` / (2 · `num_sampled_clients`), and a warning states it. Noise of agents
  (`server_side_noising` false) needs `mean`.
- Of `strategy.update_transforms`, halves on agents come before the mechanism, and halves at the
  collector after it. A mechanism is not chosen there.
- `metric-privacy` has no ε, so no `target_epsilon`.
- `dp-sgd` is trained by torch, with any optimizer that computes one gradient in a step.
- A mechanism or an `accounting` that contradicts itself or the job is refused with its key: a
  `noise_multiplier` of `dp-adaptive` that the noise in the count does not allow, more `bands` than
  `min_separation`, cohorts that the `population` is too small for, a δ of 1/`population` or more,
  a `target_epsilon` that the first round exceeds.
"""

SAMPLE_VALUES: Mapping[str, float | list[str]] = {
    "noise_multiplier": 1.0,
    "clipping_norm": 1.0,
    "num_sampled_clients": 20,
    "min_separation": 1,
    "max_participations": 1,
    "epsilon": 1.0,
    "least_examples": 100,
    "features": 1,
    "trainers": ["agent.sample"],
}
"""Values of the keys that a mechanism needs, so that its terms can be shown."""
RELATIONS = {
    "zero-out": "those with what one adds, and with zeros in its place",
    "replace-one": "those with any data of one",
    "add-or-remove-one": "those with and without one",
}


def mechanism_cells() -> Iterator[tuple[str, ...]]:
    """Yield the cells of each row of the table of mechanisms."""
    for name in MECHANISMS:
        part = PARTS[("privacy-mechanisms", name)]
        needed = {n: SAMPLE_VALUES[n] for n, f in part.model_fields.items() if f.is_required()}
        tree = {"model_name": "m", "num_rounds": 1, "privacy-mechanisms": {name: needed}}
        if terms := privacy_terms(JobFile.model_validate(tree), "mean"):
            summary = (part.__doc__ or "").strip().partition("\n")[0].removesuffix(".")
            apart = "no ε" if terms.release == "metric" else RELATIONS[terms.relation]
            yield f"`{name}`", summary, f"one {terms.unit}", terms.noise, apart
