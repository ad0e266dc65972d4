"""Eligibility of an agent for a training, judged by the facts that it announces."""

from dataclasses import replace
from typing import Any

import pytest

from fedbus.jobs.eligibility import (
    RowFormat,
    TrainingRequirements,
    batch_memory_reason,
    ineligibility_reason,
)
from fedbus.training.params import DataOverrides, DpSgdParams, PluginChoice, TrainingParams
from fedbus.wire.documents import AgentFacts, ModelNeeds

MIB = 2**20
FACTS = AgentFacts(
    roles=("train",),
    examples=10,
    cores=1,
    memory_mb=500,
    storage_mb=200,
    gpu=False,
    frameworks={},
    models={},
    format={},
)


def typed(kind: str, size: object, *, normalized: object = False) -> dict[str, Any]:
    """Write a format's half."""
    return {"data_types": {kind: {"size": size, "normalized": normalized}}}


def able(**facts: Any) -> AgentFacts:  # noqa: ANN401 - any field
    """Describe an agent."""
    return replace(FACTS, **facts)


def needs(*architectures: str, **input_: Any) -> ModelNeeds:  # noqa: ANN401 - any format
    """Build the requirements of a model's spec."""
    return ModelNeeds(architectures=architectures, input=input_)


def test_unknown_facts_make_an_agent_eligible() -> None:
    """Neither the memory, nor the trainers, nor the formats."""
    assert ineligibility_reason(TrainingRequirements(MIB), FACTS) is None
    assert (
        ineligibility_reason(TrainingRequirements(MIB, "torch", needs("keras")), able(memory_mb=0))
        is None
    )
    form = {"x": typed("numerical", [64])}
    assert (
        ineligibility_reason(
            TrainingRequirements(1, None, needs("tflite")), able(format=form, trainers=("tflite",))
        )
        is None
    )
    assert (
        ineligibility_reason(
            TrainingRequirements(1, None, needs("t", **typed("image", [8, 8]))), FACTS
        )
        is None
    )


@pytest.mark.parametrize(
    ("facts", "size", "reason"),
    [
        (able(memory_mb=499), 100, "training needs about 500 MiB of memory, 499 are available"),
        (able(storage_mb=99), 100, "its update needs about 100 MiB of storage, 99 are free"),
        (able(memory_mb=500, storage_mb=100), 100, None),
        (able(memory_mb=0), 200, None),
        (
            able(memory_mb=499, trainers=("tflite",)),
            46,
            "training needs about 506 MiB of memory, 499 are available",
        ),
        (able(memory_mb=499, trainers=("tflite", "torch")), 46, None),
        (able(storage_mb=0), 0, None),
    ],
)
def test_a_model_that_an_agent_cannot_hold_does_not_fit(
    facts: AgentFacts, size: int, reason: str | None
) -> None:
    """Five times its weights in memory, eleven times in TFLite; its update on the disk."""
    assert ineligibility_reason(TrainingRequirements(size * MIB), facts) == reason


@pytest.mark.parametrize(
    ("params", "memory", "storage"),
    [
        (TrainingParams(), 50, 10),
        (TrainingParams(keep_optimizer_state=True), 50, 10),
        (TrainingParams(optimizer="adam"), 70, 10),
        (TrainingParams(optimizer="adam", optimizer_args={"amsgrad": True}), 80, 10),
        (TrainingParams(optimizer="adam", keep_optimizer_state=True), 90, 70),
        (TrainingParams(optimizer="lbfgs"), 2140, 10),
        (TrainingParams(optimizer="lbfgs", optimizer_args={"history_size": 5}), 240, 10),
        (TrainingParams(optimizer="unknown"), 50, 10),
        (TrainingParams(optimizer="adam", objective=PluginChoice(id="fedprox")), 90, 10),
    ],
)
def test_an_optimizer_that_an_agent_cannot_hold_does_not_fit(
    params: TrainingParams, memory: int, storage: int
) -> None:
    """What it keeps beside a model of 10 MiB, and on the disk from round to round."""
    wish = TrainingRequirements(10 * MIB, params=params)
    there = able(memory_mb=memory, storage_mb=storage)
    assert ineligibility_reason(wish, there) is None
    how = "" if memory == 50 else f" with {params.optimizer}"
    said = ineligibility_reason(wish, replace(there, memory_mb=memory - 1))
    assert said == f"training{how} needs about {memory} MiB of memory, {memory - 1} are available"
    what = "its update and what is kept between rounds need" if storage > 10 else "its update needs"
    said = ineligibility_reason(wish, replace(there, storage_mb=storage - 1))
    assert said == f"{what} about {storage} MiB of storage, {storage - 1} are free"


@pytest.mark.parametrize(
    ("wanted", "architectures", "reason"),
    [
        ("torch", ("torch", "tflite"), "no trainer 'torch', only own, tflite"),
        ("own", ("torch",), None),
        ("base", ("tflite", "torch"), None),
        ("base", ("own", "torch"), "no trainer for the model (own, torch), only tflite"),
        (None, ("keras", "torch"), "no trainer for the model (keras, torch), only own, tflite"),
        (None, (), "no trainer for the model (none), only own, tflite"),
        (None, ("keras", "tflite"), None),
    ],
)
def test_an_agent_without_a_trainer_for_it_does_not_fit(
    wanted: str | None, architectures: tuple[str, ...], reason: str | None
) -> None:
    """The job's own choice, or one of the spec's architectures."""
    agent = able(trainers=("tflite", "own"))
    assert (
        ineligibility_reason(TrainingRequirements(1, wanted, needs(*architectures)), agent)
        == reason
    )
    assert ineligibility_reason(TrainingRequirements(1), agent) is None


@pytest.mark.parametrize(
    ("wanted", "has", "reason"),
    [
        (typed("image", [8, 8, 1]), typed("image", [8, 8, 1]), None),
        (typed("image", [8, 8, 1]), typed("image", [8, 8, 1], normalized=True), None),
        (
            typed("image", [8, 8, 1]),
            typed("numerical", [64]),
            "the model takes image [8, 8, 1]; the data here is numerical [64]",
        ),
        (
            {"x": typed("image", [8, 8, 3])},
            typed("image", [8, 8, 1]),
            "the model takes image [8, 8, 3]; the data here is image [8, 8, 1]",
        ),
        (
            typed("image", [8], normalized=True),
            typed("image", [8]),
            "the model takes normalised image data; the data here is not normalised",
        ),
        (typed("image", [8], normalized=True), typed("image", [8], normalized=True), None),
        (typed("image", None), typed("image", [8]), None),
        ({"data_types": {"image": 7}}, typed("image", [8]), None),
        ({"data_types": [7]}, typed("image", [8]), None),
        ({"x": 7}, typed("image", [8]), None),
        (typed("image", [8]), "none", None),
    ],
)
def test_data_of_another_format_do_not_fit(
    wanted: dict[str, Any], has: object, reason: str | None
) -> None:
    """Kind, size, and normalised where the model wants it; what is no format says nothing."""
    wish = TrainingRequirements(1, None, needs("tflite", **wanted))
    assert ineligibility_reason(wish, able(format={"x": has})) == reason


def test_an_agent_in_trouble_is_not_eligible() -> None:
    """Whatever else it says of itself."""
    assert (
        ineligibility_reason(TrainingRequirements(1), able(trouble="its worker hangs"))
        == "its worker hangs"
    )


def test_a_job_that_reads_data_its_own_way_is_judged_by_the_agent() -> None:
    """What an agent announces is not what this job's trainer would be given."""
    agent = able(format={"x": typed("image", [8, 8, 3])})
    wants = needs("tflite", **typed("numerical", [192]))
    assert ineligibility_reason(TrainingRequirements(1, None, wants), agent) is not None
    assert (
        ineligibility_reason(
            TrainingRequirements(
                1, None, wants, TrainingParams(data_overrides=DataOverrides(loader="own"))
            ),
            agent,
        )
        is None
    )


@pytest.mark.parametrize(
    ("size", "dtype", "batch", "overrides", "reason"),
    [
        ([1024, 1024], "float32", 31, None, None),
        ([1024, 1024], "float32", 32, None, "32 rows of up to 4194308 bytes need about 512 MiB"),
        ([1024, 1024], "float64", 16, None, "16 rows of up to 8388612 bytes need about 512 MiB"),
        ([1024, 1024], "", 32, None, "32 rows of up to 4194308 bytes need about 512 MiB"),
        ([1024, 1024], "uint8", 32, None, None),
        (
            [1024, 1024],
            "uint8",
            2,
            DataOverrides(),
            "256 rows of up to 1048580 bytes need about 1024 MiB",
        ),
        ([1024, "many"], "float32", 99, None, None),
    ],
)
def test_rows_that_an_agent_cannot_hold_are_refused(
    size: list[object], dtype: str, batch: int, overrides: DataOverrides | None, reason: str | None
) -> None:
    """Those of a batch; what a job makes of rows, it makes of as many as a loader hands out."""
    kinds = {"image": {"size": size, "dtype": dtype}, "odd": 3}
    rows = RowFormat.announced({"x": {"data_types": kinds}, "y": typed("categorical", [1])})
    params = TrainingParams(batch_size=batch, data_overrides=overrides)
    said = batch_memory_reason(rows, params, 1000, 500)
    assert said == (reason and f"{reason} of memory, 500 are available; {SMALLER}")
    assert batch_memory_reason(rows, params, 1000, 0) is None
    assert batch_memory_reason(RowFormat.announced({}), params, 1000, 500) is None


SMALLER = "use smaller rows or a smaller batch_size"


def test_an_agent_with_nothing_that_we_ship_does_not_fit_a_job_for_it() -> None:
    """Whatever else it has."""
    said = ineligibility_reason(
        TrainingRequirements(1, "base", needs("own", "torch")), able(trainers=("own",))
    )
    assert said == "no trainer that fedbus ships, only own"


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (DataOverrides(loader="own"), None),
        (DataOverrides(transforms=(PluginChoice(id="cast"),)), None),
        (DataOverrides(loader="other"), "no loader 'other', only npz, own"),
        (
            DataOverrides(transforms=(PluginChoice(id="cast"), PluginChoice(id="odd"))),
            "no transform 'odd', only cast",
        ),
    ],
)
def test_an_agent_without_a_plug_in_to_read_data_with_does_not_fit(
    overrides: DataOverrides, reason: str | None
) -> None:
    """One that does not say what it has is asked."""
    agent = able(loaders=("npz", "own"), transforms=("cast",))
    assert (
        ineligibility_reason(
            TrainingRequirements(1, params=TrainingParams(data_overrides=overrides)), agent
        )
        == reason
    )
    assert (
        ineligibility_reason(
            TrainingRequirements(1, params=TrainingParams(data_overrides=overrides)), FACTS
        )
        is None
    )


@pytest.mark.parametrize(
    ("has", "mend"),
    [([8, 6, 3], "channels-first"), ([6, 3, 8], "channels-last"), ([6, 8, 3], "")],
)
def test_channels_at_the_other_end_name_the_transform_that_moves_them(
    has: list[int], mend: str
) -> None:
    """A net of PyTorch has them first, a loader gives them last."""
    form = {"x": typed("image", has)}
    said = ineligibility_reason(
        TrainingRequirements(1, None, needs("t", **typed("image", [3, 8, 6]))), able(format=form)
    )
    assert said is not None
    assert said.startswith(f"the model takes image [3, 8, 6]; the data here is image {has}")
    assert (f'the transform "{mend}" moves them' in said) == bool(mend)


DP_SGD = TrainingParams(
    dp_sgd=DpSgdParams(noise_multiplier=1.0, max_grad_norm=1.0, least_examples=10)
)


@pytest.mark.parametrize(
    ("wish", "facts", "reason"),
    [
        (
            TrainingRequirements(1, params=DP_SGD),
            able(examples=9),
            "fewer training examples than 10, the least_examples of dp-sgd",
        ),
        (TrainingRequirements(1), able(examples=9), None),
        (
            TrainingRequirements(
                1,
                params=replace(DP_SGD, data_overrides=DataOverrides(loader="sieve")),
            ),
            able(examples=9),
            None,
        ),
        (
            TrainingRequirements(1, params=DP_SGD),
            able(trainers=("keras", "tflite")),
            "no trainer that trains with dp-sgd (torch), only keras, tflite",
        ),
        (
            TrainingRequirements(1, None, needs("own", "tflite"), DP_SGD),
            able(trainers=("tflite", "torch")),
            "no trainer that trains with dp-sgd (torch), only tflite",
        ),
        (
            TrainingRequirements(1, "tflite", None, DP_SGD),
            able(trainers=("tflite", "torch")),
            "no trainer that trains with dp-sgd (torch), only tflite",
        ),
        (TrainingRequirements(1, "base", None, DP_SGD), able(trainers=("tflite", "torch")), None),
        (TrainingRequirements(1, params=DP_SGD), able(trainers=("own", "tflite")), None),
        (TrainingRequirements(1, params=DP_SGD), FACTS, None),
    ],
)
def test_an_agent_that_cannot_train_with_dp_sgd_is_not_eligible(
    wish: TrainingRequirements, facts: AgentFacts, reason: str | None
) -> None:
    """Its examples are too few or its trainers cannot; a foreign trainer or loader is unknown."""
    assert ineligibility_reason(wish, facts) == reason
