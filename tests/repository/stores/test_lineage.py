"""Ancestors, descendants and leaves, compared with a walk over all versions."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fedbus_repository.stores.lineage import Branch, Lineage

TREE = Lineage([Branch(1, None), Branch(4, 2), Branch(6, None), Branch(8, 5)], 9)
"""1-2-3, 4-5 made from 2, the root 6-7, and 8-9 made from 5."""


def test_ancestors_come_nearest_first_across_forks() -> None:
    """To the root, and no further."""
    assert TREE.ancestors(9, 10) == [8, 5, 4, 2, 1]
    assert TREE.ancestors(3, 10) == [2, 1]
    assert TREE.ancestors(7, 10) == [6]
    assert TREE.ancestors(6, 10) == []


def test_descendants_come_in_order_and_leave_other_roots_out() -> None:
    """A fork from an older version does not descend from what came after that one."""
    assert TREE.descendants(1, 10) == [2, 3, 4, 5, 8, 9]
    assert TREE.descendants(3, 10) == []
    assert TREE.descendants(4, 10) == [5, 8, 9]
    assert TREE.descendants(6, 10) == [7]


def test_leaves_are_what_nothing_was_made_from() -> None:
    """Of one version, or of the whole model."""
    assert TREE.leaves(None, 10) == [3, 7, 9]
    assert TREE.leaves(1, 10) == [3, 9]
    assert TREE.leaves(4, 10) == [9]
    assert TREE.leaves(9, 10) == []


def test_pages_continue_after_the_last_version_of_the_one_before() -> None:
    """Each with as many as were asked for."""
    assert (TREE.ancestors(9, 2), TREE.ancestors(9, 2, 5), TREE.ancestors(9, 2, 2)) == (
        [8, 5],
        [4, 2],
        [1],
    )
    assert (TREE.descendants(1, 3), TREE.descendants(1, 3, 4)) == ([2, 3, 4], [5, 8, 9])
    assert (TREE.leaves(None, 1), TREE.leaves(None, 2, 3)) == ([3], [7, 9])
    assert TREE.ancestors(9, 2, 3) == []  # no ancestor of 9


@st.composite
def bases(draw: st.DrawFn) -> list[int | None]:
    """The base of each version from 1: mostly the one before."""
    made: list[int | None] = [None]
    for number in range(2, draw(st.integers(1, 30)) + 1):
        older = st.integers(1, number - 1)
        made.append(draw(st.just(number - 1) | older | st.none()))
    return made


@given(bases=bases(), data=st.data(), limit=st.integers(1, 8))
def test_pages_of_any_tree_are_those_of_a_walk(
    bases: list[int | None], data: st.DataObject, limit: int
) -> None:
    """All pages together are all relatives, each once."""
    base = dict(enumerate(bases, 1))
    branches = [Branch(each, of) for each, of in base.items() if of != each - 1 or each == 1]
    tree, version = Lineage(branches, len(bases)), data.draw(st.integers(1, len(bases)))

    def above(number: int) -> list[int]:
        of = base[number]
        return [] if of is None else [of, *above(of)]

    below = [each for each in base if version in above(each)]
    tips = [each for each in base if each not in base.values()]
    pages: list[tuple[Any, list[int]]] = [
        (lambda after: tree.ancestors(version, limit, after), above(version)),
        (lambda after: tree.descendants(version, limit, after), below),
        (lambda after: tree.leaves(version, limit, after), [e for e in tips if e in below]),
        (lambda after: tree.leaves(None, limit, after), tips),
    ]
    for page, expected in pages:
        found: list[int] = page(None)
        while found and (more := page(found[-1])):
            assert len(found) % limit == 0
            found += more
        assert found == expected
