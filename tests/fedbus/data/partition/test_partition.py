"""Samplers assign rows as unevenly as they state; no row is lost, and no agent is left without."""

import hashlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedbus.data.partition import SAMPLERS, Rows, dirichlet, options_of, partition_rows
from fedbus.data.partition.row_assignment import draw_classes, hold_out
from fedbus.errors import TrainingError

SKEWED = sorted(SAMPLERS.keys() - {"all-inclusive"})
CLASSES = 10
LABELS = np.random.default_rng(3).permutation(np.repeat(np.arange(CLASSES), 100))


def dealt(
    by: str,
    agents: int = 10,
    min_rows: int = 1,
    seed: int = 0,
    **options: Any,  # noqa: ANN401 - a sampler's own
) -> list[Rows]:
    """Deal a thousand rows of ten classes."""
    return partition_rows(by, LABELS, agents, np.random.default_rng(seed), min_rows, options)


def classes(partition: Rows) -> set[int]:
    """Name the classes of some rows."""
    return set(LABELS[partition].tolist())


@settings(max_examples=150)
@given(
    by=st.sampled_from(SKEWED),
    labels=st.lists(st.integers(0, 6), min_size=1, max_size=150),
    agents=st.integers(1, 12),
    min_rows=st.integers(0, 12),
    seed=st.integers(0, 2**32),
)
def test_every_row_is_dealt_once_and_everyone_gets_the_least_or_it_is_refused(
    by: str, labels: list[int], agents: int, min_rows: int, seed: int
) -> None:
    """Whatever the sampler, the rows, and the chance."""
    rows = np.array(labels)
    try:
        partitions = partition_rows(by, rows, agents, np.random.default_rng(seed), min_rows, {})
    except TrainingError as error:
        assert str(error)  # noqa: PT017 - refused with a sentence, or all of what follows holds
        return
    assert len(partitions) == agents
    assert min(map(len, partitions)) >= min_rows
    assert sorted(np.concatenate(partitions).tolist()) == list(range(len(rows)))
    again = partition_rows(by, rows, agents, np.random.default_rng(seed), min_rows, {})
    assert all(map(np.array_equal, partitions, again))


@pytest.mark.parametrize("by", SKEWED)
@pytest.mark.parametrize("seed", range(3))
def test_ordinary_wishes_are_not_refused(by: str, seed: int) -> None:
    """Ten agents, a thousand rows, twenty of them for everyone."""
    partitions = dealt(by, min_rows=20, seed=seed)
    assert min(map(len, partitions)) >= 20
    assert sorted(np.concatenate(partitions).tolist()) == list(range(1000))
    assert any(not np.array_equal(partition, np.sort(partition)) for partition in partitions)


@pytest.mark.parametrize("by", SAMPLERS)
def test_another_seed_deals_otherwise(by: str) -> None:
    """And the same one the same."""
    assert all(map(np.array_equal, dealt(by), dealt(by)))
    assert not all(map(np.array_equal, dealt(by), dealt(by, seed=1)))


def spread(partitions: list[Rows]) -> float:
    """Measure how uneven the hands' sizes are: the largest over the mean."""
    sizes = [len(partition) for partition in partitions]
    return max(sizes) / float(np.mean(sizes))


def seen(partitions: list[Rows]) -> float:
    """Count the classes that an agent sees, in the mean."""
    return float(np.mean([len(classes(partition)) for partition in partitions]))


def test_iid_is_even_in_size_and_classes() -> None:
    """By chance alone."""
    partitions = dealt("iid")
    assert {len(partition) for partition in partitions} == {100}
    assert seen(partitions) == CLASSES


def test_a_small_alpha_gives_agents_few_classes() -> None:
    """That is what makes federated learning hard."""
    assert seen(dealt("dirichlet", alpha=0.05)) < 5 < seen(dealt("dirichlet", alpha=100.0))
    assert spread(dealt("dirichlet", alpha=100.0)) < 1.3


def test_shards_limit_the_classes_of_partitions_of_one_size() -> None:
    """As McMahan et al. dealt MNIST."""
    partitions = dealt("shards")
    assert {len(partition) for partition in partitions} == {100}
    assert max(len(classes(partition)) for partition in partitions) <= 4
    assert seen(dealt("shards", shards_per_agent=1)) <= 2
    with pytest.raises(TrainingError, match="shards_per_agent is 200: expected 1 to 100"):
        dealt("shards", shards_per_agent=200)
    with pytest.raises(TrainingError, match="an agent gets 4 rows, expected at least 5"):
        partition_rows(
            "shards", np.zeros(15, int), 3, np.random.default_rng(0), 5, {"shards_per_agent": 4}
        )


def test_label_quantity_assigns_a_fixed_number_of_classes() -> None:
    """Shared evenly by all who have them."""
    partitions = dealt("label-quantity", agents=20, classes_per_agent=3)
    assert {len(classes(partition)) for partition in partitions} == {3}
    for label in range(CLASSES):
        counts = [
            int((LABELS[partition] == label).sum())
            for partition in partitions
            if label in classes(partition)
        ]
        assert max(counts) - min(counts) <= 1
    with pytest.raises(TrainingError, match="4 agents of 2 classes cannot have all 10 classes"):
        dealt("label-quantity", agents=4)
    with pytest.raises(TrainingError, match="classes_per_agent is 11: expected 1 to 10"):
        dealt("label-quantity", classes_per_agent=11)


def test_the_least_is_given_within_an_agents_classes_or_refused() -> None:
    """A class is never given to an agent that must not have it."""
    labels = np.repeat([0, 1, 2], [30, 300, 3])
    rng = np.random.default_rng(0)
    partitions = partition_rows("label-quantity", labels, 6, rng, 10, {"classes_per_agent": 2})
    assert {len(set(labels[partition].tolist())) for partition in partitions} <= {1, 2}
    with pytest.raises(
        TrainingError, match=r"agent \d has \d+ rows of its classes \d, .* use fewer"
    ):
        partition_rows("label-quantity", labels, 3, rng, 40, {"classes_per_agent": 1})


def test_quantity_skew_is_in_sizes_alone() -> None:
    """Classes come by chance."""
    partitions = dealt("quantity-skew", alpha=0.5, min_rows=40)
    assert spread(partitions) > 1.5
    assert seen(partitions) > 9


def test_sample_quantity_keeps_every_class_in_its_share() -> None:
    """Only the sizes differ."""
    for partition in dealt("sample-quantity", alpha=1.0, min_rows=0):
        counts = np.bincount(LABELS[partition], minlength=CLASSES)
        assert counts.max() - counts.min() <= 1


def test_distribution_skews_sizes_and_classes() -> None:
    """Each with an alpha of its own."""
    partitions = dealt("distribution", alpha=0.1, size_alpha=100.0)
    assert spread(partitions) < 1.4
    assert seen(partitions) < 7
    partitions = dealt("distribution", alpha=1000.0, size_alpha=0.5, min_rows=0)
    assert spread(partitions) > 1.5
    large = max(partitions, key=len)
    counts = np.bincount(LABELS[large], minlength=CLASSES)
    assert counts.max() < 1.5 * counts.min()


def test_mixed_deals_to_some_by_class_and_to_others_by_chance() -> None:
    """The first ones are uneven, or those that are named, the first being 1."""
    partitions = dealt("mixed", non_iid=4, alpha=0.05)
    assert {len(partition) for partition in partitions[4:]} == {100}
    assert seen(partitions[4:]) > 9
    assert seen(partitions[:4]) < 7
    named = dealt("mixed", non_iid=[10, 1, 3, 7], alpha=0.05)
    uneven = [named[number - 1] for number in (1, 3, 7, 10)]
    assert all(map(np.array_equal, uneven, partitions[:4]))
    assert sorted(np.concatenate(named).tolist()) == list(range(1000))
    assert {len(partition) for partition in dealt("mixed", non_iid=0)} == {100}
    assert seen(dealt("mixed", non_iid=10, alpha=0.05)) < 5
    assert dealt("mixed", alpha=0.05)[0].shape != (100,)
    with pytest.raises(TrainingError, match="non_iid is 11: expected 0 to 10"):
        dealt("mixed", non_iid=11)
    for bad in ([0], [11], [2, 2]):
        with pytest.raises(TrainingError, match="expected agents from 1 to 10, each once"):
            dealt("mixed", non_iid=bad)


PARTITIONED = [by for by in SAMPLERS if "partition_size" in options_of(by)]


@pytest.mark.parametrize("by", PARTITIONED)
@pytest.mark.parametrize("size", [1, 37, 100])
def test_everyone_has_a_partition_of_one_size(by: str, size: int) -> None:
    """Each row is one agent's at most, even where all are dealt; the others have no agent."""
    partitions = dealt(by, partition_size=size, seed=size)
    assert [len(partition) for partition in partitions] == [size] * 10
    assert len(set(np.concatenate(partitions).tolist())) == 10 * size
    assert all(map(np.array_equal, partitions, dealt(by, partition_size=size, seed=size)))


def test_the_samplers_of_plato_that_have_partitions_of_one_size_are_these() -> None:
    """The others have sizes of their own."""
    assert PARTITIONED == ["iid", "dirichlet", "mixed", "orthogonal"]


def test_partitions_of_one_size_are_as_uneven_in_their_classes_as_alpha_says() -> None:
    """Each agent draws its own proportions."""
    assert seen(dealt("dirichlet", partition_size=50, alpha=0.05)) < 4
    assert seen(dealt("dirichlet", partition_size=50, alpha=100.0)) > 9.5
    partitions = dealt("mixed", non_iid=[2, 4], partition_size=50, alpha=0.05)
    assert seen([partitions[1], partitions[3]]) < 5
    assert seen([partitions[0], partitions[2], *partitions[4:]]) > 9
    partitions = dealt("orthogonal", institutions=5, alpha=0.05, partition_size=50)
    for number, partition in enumerate(partitions):
        assert classes(partition) <= {2 * (number % 5), 2 * (number % 5) + 1}


def test_a_partition_size_that_rows_do_not_suffice_for_is_refused() -> None:
    """As is one below the least, and one that its sampler has no use for."""
    for by in PARTITIONED:
        for size in (0, 9, 101):
            with pytest.raises(TrainingError, match=rf"partition_size is {size}: expected 10 to"):
                dealt(by, min_rows=10, partition_size=size)
    groups = [[0], list(range(1, 10))]
    with pytest.raises(TrainingError, match=r"partition_size is 21: .*\(100 rows for 5 agents"):
        dealt("orthogonal", institutions=groups, partition_size=21)
    with pytest.raises(TrainingError, match="shards takes no partition_size"):
        dealt("shards", partition_size=10)


def test_the_default_deals_the_rows_that_published_figures_were_made_of() -> None:
    """Of a seed, in every version."""
    rows = np.concatenate(dealt("dirichlet", alpha=0.3)).astype("<i8").tobytes()
    assert hashlib.sha256(rows).hexdigest()[:16] == "5b644919e28cfb14"


def test_mixed_label_quantity_has_agents_with_the_same_classes() -> None:
    """Of which the others have but a few."""
    partitions = dealt(
        "mixed-label-quantity",
        agents=12,
        classes_per_agent=3,
        anchor_classes=[2, 3, 9],
        consistent=4,
        keep_anchor=1,
    )
    assert all(classes(partition) == {2, 3, 9} for partition in partitions[:4])
    assert all(len(classes(partition) & {2, 3, 9}) <= 1 for partition in partitions[4:])
    assert {len(classes(partition)) for partition in partitions} == {3}
    with pytest.raises(TrainingError, match="anchor_classes is 2, 3: expected 3 of"):
        dealt("mixed-label-quantity", classes_per_agent=3, anchor_classes=[2, 3])
    with pytest.raises(TrainingError, match="got 11 and"):
        dealt("mixed-label-quantity", consistent=11)
    with pytest.raises(
        TrainingError, match="1 other agents of 2 classes cannot have all the other 8"
    ):
        dealt("mixed-label-quantity", consistent=9)


@pytest.mark.parametrize("seed", range(20))
def test_a_class_that_just_fits_is_assigned(seed: int) -> None:
    """Four others have exactly the eight classes that are left, and none twice."""
    partitions = dealt("mixed-label-quantity", agents=8, consistent=4, keep_anchor=2, seed=seed)
    assert sorted(np.concatenate(partitions).tolist()) == list(range(1000))


def test_institutions_have_classes_of_their_own() -> None:
    """And their agents share them."""
    partitions = dealt("orthogonal", institutions=[[0, 1, 2], [3, 4, 5, 6, 7, 8, 9]])
    assert all(classes(partition) == {0, 1, 2} for partition in partitions[::2])
    assert all(classes(partition) == {3, 4, 5, 6, 7, 8, 9} for partition in partitions[1::2])
    partitions = dealt("orthogonal", institutions=5, alpha=0.05)
    for one in range(5):
        assert classes(np.concatenate(partitions[one::5])) == {2 * one, 2 * one + 1}
    for bad, sentence in [
        (0, "institutions is 0: expected 1 to 10"),
        ([[0, 1], [1, 2]], "have the classes 0, 1, 1, 2: expected 0, 1"),
        ([list(range(10)), []], "each once"),
    ]:
        with pytest.raises(TrainingError, match=sentence):
            dealt("orthogonal", institutions=bad)
    with pytest.raises(TrainingError, match="5 institutions need as many agents"):
        dealt("orthogonal", agents=3, institutions=5)
    with pytest.raises(TrainingError, match="institution 1 has 100 rows of classes 0 for 5 agents"):
        dealt("orthogonal", institutions=[[0], list(range(1, 10))], min_rows=30)


def test_all_inclusive_gives_everyone_everything() -> None:
    """In an order of their own."""
    partitions = dealt("all-inclusive", agents=3)
    assert [sorted(partition.tolist()) for partition in partitions] == [list(range(1000))] * 3
    assert not np.array_equal(partitions[0], partitions[1])
    with pytest.raises(TrainingError, match="rows for 2 agents of at least 1001"):
        dealt("all-inclusive", agents=2, min_rows=1001)


def test_what_cannot_be_dealt_is_refused() -> None:
    """With the choices."""
    for by in SAMPLERS:
        with pytest.raises(TrainingError, match="rows for 0 agents"):
            dealt(by, agents=0)
    with pytest.raises(TrainingError, match="1000 rows for 6 agents of at least 200 each"):
        dealt("iid", agents=6, min_rows=200)
    with pytest.raises(TrainingError, match="no sampler 'fair'; expected all-inclusive, dirichlet"):
        dealt("fair")
    with pytest.raises(TrainingError, match="iid takes no alpha; its options: partition_size"):
        dealt("iid", alpha=1.0)
    with pytest.raises(TrainingError, match=r"distribution takes no beta; .* alpha, size_alpha"):
        dealt("distribution", beta=1.0)
    for by, option in [("dirichlet", "alpha"), ("distribution", "size_alpha")]:
        with pytest.raises(TrainingError, match=f"{option} is 0: expected a number above 0"):
            dealt(by, **{option: 0})
    rng = np.random.default_rng(0)
    assert len(partition_rows("iid", np.linspace(0, 1, 9), 3, rng, 1, {})) == 3
    with pytest.raises(
        TrainingError, match=r"got float64, one value for each row; .* are all-inclusive, iid"
    ):
        partition_rows("dirichlet", np.linspace(0, 1, 9), 3, rng, 1, {})
    with pytest.raises(TrainingError, match=r"got int64, \(2,\) for each row; samplers that need"):
        partition_rows("shards", np.zeros((9, 2), np.int64), 3, rng, 1, {})
    assert options_of("all-inclusive") == ()


def test_packs_are_dealt_to_the_end() -> None:
    """Every class has an agent, and none has many more than another."""
    partitions = draw_classes(range(7), 3, 10, np.random.default_rng(0))
    counts = np.bincount([spec for partition in partitions for spec in partition])
    assert {len(partition) for partition in partitions} == {3}
    assert counts.min() >= 3
    assert counts.max() <= 6


def test_the_held_out_part_has_every_class_in_its_share() -> None:
    """So that its accuracy is representative of all of them."""
    y = np.repeat(np.arange(5), [50, 100, 20, 10, 40])
    kept, held = hold_out(y, 0.2, np.random.default_rng(3))
    assert np.bincount(y[held]).tolist() == [10, 20, 4, 2, 8]
    assert sorted([*kept.tolist(), *held.tolist()]) == list(range(len(y)))
    assert sum(map(len, dirichlet(y[kept], 3, np.random.default_rng(0)))) == len(kept)
