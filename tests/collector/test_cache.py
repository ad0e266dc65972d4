"""What is kept from round to round."""

from fedbus.blobs.spool import Spools
from fedbus_collector.cache import MAX_BASES, MAX_LAYOUTS, Shelf
from tests.collector.stand import LAYOUT


def test_a_base_belongs_to_who_takes_it() -> None:
    """It is no longer on the shelf."""
    shelf, spool = Shelf(), Spools(100).make(10)
    shelf.put_base("a", spool)
    assert shelf.take_base("a") is spool
    assert shelf.take_base("a") is None


def test_bases_that_are_not_wanted_give_their_room_back() -> None:
    """The oldest goes first; the same twice is kept once."""
    shelf, spools = Shelf(), Spools(1000)
    for number in range(MAX_BASES + 2):
        shelf.put_base(str(number), spools.make(10))
    shelf.put_base(str(MAX_BASES), spools.make(10))
    assert spools.used == 10 * MAX_BASES
    assert shelf.take_base("0") is None
    assert shelf.take_base(str(MAX_BASES)) is not None


def test_a_few_layouts_are_remembered() -> None:
    """By their spec's digest."""
    shelf = Shelf()
    for number in range(MAX_LAYOUTS + 1):
        shelf.keep_layout(str(number), LAYOUT)
    assert shelf.layout("0") is None
    assert shelf.layout("1") is LAYOUT
