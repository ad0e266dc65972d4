"""Energy of tasks: what each used, how it is split, and that codecarbon measures the same."""

import json
from pathlib import Path

import pytest

from fedbus.energy.carbon_intensity import GRAMS_PER_KWH, WORLD, grams_of, grams_per_kwh
from fedbus.energy.energy_meter import JOULES_PER_BYTE, EnergyMeter
from fedbus.energy.energy_sums import format_energy, total_energy
from fedbus.errors import SettingsError, WireError
from fedbus.wire import codec
from fedbus.wire.energy import MOST_ENERGY, EnergyUsed

FIGURES = json.loads(
    (Path(__file__).parent / "reference" / "codecarbon_figures.json").read_text("utf-8")
)


class Reading:
    """Joules that a test sets."""

    def __init__(self) -> None:
        self.joules = 0.0

    def __call__(self) -> float:
        """Return the joules."""
        return self.joules


def test_a_task_has_what_the_process_used_while_it_was_at_work() -> None:
    """And the bytes that were moved for it; what was used before the first task is no one's."""
    read = Reading()
    read.joules = 1000.0
    meter = EnergyMeter(read, intensity=360)
    with meter.working("training", measured=True) as work:
        read.joules += 36.0
        used = work.used(1_000_000)
    assert used is not None
    assert used.joules == {"training": 36.0, "transfer": 1e6 * JOULES_PER_BYTE}
    assert used.grams == pytest.approx((36 + 6.75) / 3.6e6 * 360, rel=1e-12)


def test_the_time_between_tasks_belongs_to_the_later_one() -> None:
    """Once: the same idle time is in no other report."""
    read = Reading()
    meter = EnergyMeter(read)
    with meter.working("training", measured=True) as first:
        assert first.used(0) == EnergyUsed(joules={}, grams=0)
    read.joules += 5.0
    with meter.working("evaluation", measured=True) as second:
        read.joules += 2.0
        used = second.used(0)
        again = second.used(0)
    assert used is not None
    assert again is not None
    assert used.joules == {"evaluation": 2.0, "idle": 5.0}
    assert again.joules == {"evaluation": 2.0}


def test_two_tasks_at_once_share_what_the_process_uses() -> None:
    """So that their sum is what was used, also if only one of them is measured."""
    read = Reading()
    meter = EnergyMeter(read)
    with meter.working("training", measured=True) as one:
        read.joules += 4.0
        with meter.working("training", measured=False) as other:
            read.joules += 6.0
        read.joules += 1.0
        used = one.used(0)
        assert other.used(0) is None
    assert used is not None
    assert used.joules == {"training": 8.0}
    with meter.working("training", measured=False):
        read.joules += 100.0
    read.joules += 1.0
    with meter.working("training", measured=True) as last:
        used = last.used(0)
    assert used is not None
    assert used.joules == {"idle": 1.0}


def test_nothing_is_read_for_tasks_that_are_not_measured() -> None:
    """Most jobs do not ask for it."""

    def never() -> float:
        raise AssertionError

    with EnergyMeter(never).working("training", measured=False) as work:
        assert work.used(10) is None


def test_a_counter_that_goes_back_takes_nothing_away() -> None:
    """A virtual machine may be moved to another processor."""
    read = Reading()
    meter = EnergyMeter(read)
    with meter.working("training", measured=True) as work:
        read.joules = -7.0
        used = work.used(0)
    assert used == EnergyUsed(joules={}, grams=0)


@pytest.mark.parametrize("figures", FIGURES["measured"], ids=lambda each: each["country"])
def test_codecarbon_measures_the_same(figures: dict[str, float]) -> None:
    """Its constant mode and this meter, on the same workload, within a tenth."""
    read = Reading()
    meter = EnergyMeter(read, grams_per_kwh(str(figures["country"])))
    with meter.working("training", measured=True) as work:
        read.joules += figures["watts"] * figures["processor_seconds"]
        used = work.used(0)
    assert used is not None
    assert used.joules["training"] == pytest.approx(figures["joules"], rel=0.1)
    assert used.grams == pytest.approx(figures["grams"], rel=0.1)


def test_countries_are_named_by_three_letters() -> None:
    """In any case; without one, the mean of the world is used."""
    assert grams_per_kwh("deu") == GRAMS_PER_KWH["DEU"] == 381
    assert grams_per_kwh(None) == WORLD
    assert grams_of(3.6e6, WORLD) == WORLD
    with pytest.raises(SettingsError, match="'DE' is not in the table of countries"):
        grams_per_kwh("DE")


def test_a_sum_can_be_sent_whatever_agents_state() -> None:
    """One that states too much, or a phase that there is not, spoils no round's record."""
    most = EnergyUsed(joules={"training": MOST_ENERGY, "sleep": 1.0}, grams=MOST_ENERGY)
    total = total_energy([most] * 3)
    assert total == EnergyUsed(joules={"training": MOST_ENERGY}, grams=MOST_ENERGY)
    assert codec.unpack(EnergyUsed, codec.pack(total)) == total
    for wrong in (
        EnergyUsed(joules={"training": 2 * MOST_ENERGY}, grams=0),
        EnergyUsed(joules={}, grams=-1),
    ):
        with pytest.raises(WireError):
            codec.unpack(EnergyUsed, codec.pack(wrong))


def test_energy_is_added_by_phase() -> None:
    """What is unknown adds nothing; if all is unknown, so is the sum."""
    one = EnergyUsed(joules={"training": 3600.0, "transfer": 36.0}, grams=0.5)
    other = EnergyUsed(joules={"training": 1800.0, "idle": 0.0}, grams=0.25)
    assert total_energy([]) is None
    assert total_energy([None, None]) is None
    total = total_energy([one, None, other])
    assert total == EnergyUsed(joules={"training": 5400.0, "transfer": 36.0}, grams=0.75)
    assert format_energy(total) == "1.51 Wh, 750 mg CO2 (training 1.5 Wh, transfer 10 mWh)"
    assert format_energy(total, phases=False) == "1.51 Wh, 750 mg CO2"
    assert format_energy(EnergyUsed(joules={"training": 3600.0}, grams=1)) == "1 Wh, 1 g CO2"
    small = EnergyUsed(joules={"training": 1.8e-3}, grams=5.85e-5)
    assert format_energy(small) == "0.5 µWh, 58.5 µg CO2"
    assert format_energy(EnergyUsed(joules={}, grams=0)) == "0 Wh, 0 g CO2"
