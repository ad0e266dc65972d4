"""Runs of a layout: where each of them lies in a blob, an update, a total and a section."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbus.errors import LayoutError
from fedbus.model.encodings import ENCODINGS
from fedbus.model.layout import DTYPES, Layout, Role, Tensor
from fedbus.model.sections import section_numbers
from fedbus_collector.aggregation.tensor_runs import (
    STACK_BYTES,
    UpdateRuns,
    blocks_of,
    runs_of,
    stack_length,
)

ROLES: tuple[Role, ...] = ("weight", "statistic", "local")


def test_float32_models_are_one_run() -> None:
    """So the commonest of models are folded as one flat array."""
    layout = Layout.of({name: np.zeros(3, np.float32) for name in "abc"})
    (run,) = runs_of(layout)
    assert (run.numbers, run.plain, run.delta, run.total) == (9, 0, 0, 0)
    assert [each.numbers for each in runs_of(layout, joined=False)] == [3, 3, 3]


@given(
    st.lists(
        st.tuples(st.integers(1, 9), st.sampled_from(sorted(DTYPES)), st.sampled_from(ROLES)),
        min_size=1,
        max_size=8,
    )
)
def test_runs_lie_one_after_the_other(kinds: list[tuple[int, str, Role]]) -> None:
    """In every array that the collector reads: no number is left out, and none is read twice."""
    tensors = [Tensor(f"t{at}", (n,), dtype, role) for at, (n, dtype, role) in enumerate(kinds)]
    layout = Layout((*tensors, Tensor("w", (4,), "float32")))
    runs = UpdateRuns.of(layout, ("c", "d"))
    plain = delta = total = trained = 0
    for run in (*runs.model, *runs.sections.values()):
        assert (run.plain, run.trained) == (plain, trained)
        plain += run.numbers * np.dtype(run.dtype).itemsize
        trained += run.numbers if run.treatment == "trained" else 0
    for run in runs.in_updates:
        assert (run.delta, run.total) == (delta, total)
        delta += run.numbers * np.dtype(run.difference).itemsize
        total += run.numbers
    assert plain == runs.updates.size
    assert delta == ENCODINGS["delta"].bounds(runs.updates).most
    assert trained == section_numbers(layout)
    assert [run.numbers for run in runs.sections.values()] == [trained, trained]
    assert sum(run.numbers for run in runs.model) == layout.numbers


def test_a_model_without_trained_tensors_has_no_sections() -> None:
    """A strategy of gradients has none to work on."""
    layout = Layout((Tensor("n", (2,), "int64"),))
    assert UpdateRuns.of(layout).sections == {}
    with pytest.raises(LayoutError, match="without floating-point weights"):
        UpdateRuns.of(layout, ("c",))


def test_the_more_updates_are_read_at_once_the_shorter_are_their_blocks() -> None:
    """A thread and copies for each block make longer ones cheaper for third-party rules."""
    for rows in (1, 10, 1000, 10_000):
        shipped = stack_length(rows, third_party=False)
        assert 0 < shipped * rows * 8 <= STACK_BYTES
        assert stack_length(rows, third_party=True) > shipped
    assert stack_length(2**40, third_party=False) == 1


@given(st.integers(1, 1000), st.integers(1, 300))
def test_blocks_cover_a_run(numbers: int, most: int) -> None:
    """The last one is what is left."""
    (run,) = runs_of(Layout((Tensor("w", (numbers,), "float32"),)))
    blocks = list(blocks_of(run, most))
    assert [block.at for block in blocks] == list(range(0, numbers, most))
    assert sum(block.numbers for block in blocks) == numbers
