"""Energy of this process: from processor time, or from the counters of the processor."""

from pathlib import Path

import pytest

from fedbus.energy.processor_energy import (
    WATTS_PER_CORE,
    ConstantPower,
    RaplShare,
    busy_seconds,
    processor_seconds,
    read_joules_of,
)

STAT = "cpu  {} 0 100 5000 30 0 0 0 0 0\ncpu0 1 2 3 4 5 6 7 8 9 10\n"


def package(folder: Path, name: str, joules: float) -> Path:
    """Write the counters of a package."""
    made = folder / name
    made.mkdir(parents=True, exist_ok=True)
    (made / "energy_uj").write_text(f"{int(joules * 1e6)}\n")
    (made / "max_energy_range_uj").write_text(f"{int(1000 * 1e6) - 1}\n")
    return made


def test_processor_time_rises_as_the_process_works() -> None:
    """By the time that its cores were busy."""
    before = processor_seconds()
    while processor_seconds() < before + 0.02:
        pass
    read = ConstantPower(2.0, lambda: 3.0)
    assert read() == 6.0
    assert ConstantPower()() == pytest.approx(WATTS_PER_CORE * processor_seconds(), rel=0.1)


def test_busy_time_is_that_of_all_processes_without_waiting() -> None:
    """In hundredths of a second."""
    assert busy_seconds("cpu  100 20 30 4000 500 6 7 8 0 0\n") == pytest.approx(1.71)


def test_a_process_has_its_share_of_what_the_packages_used(tmp_path: Path) -> None:
    """A counter that begins again goes on; within one tick nothing is lost."""
    one, other = package(tmp_path, "a", 100), package(tmp_path, "b", 990)
    stat, own = tmp_path / "stat", [1.0]
    stat.write_text(STAT.format(1000))
    read = RaplShare([one, other], stat, lambda: own[0])
    assert read() == 0
    package(tmp_path, "a", 130)
    package(tmp_path, "b", 10)
    assert read() == 0  # no tick has passed
    stat.write_text(STAT.format(1400))
    own[0] = 2.0
    assert read() == pytest.approx((30 + 20) * 1.0 / 4.0)
    own[0] = 99.0
    stat.write_text(STAT.format(1500))
    package(tmp_path, "a", 140)
    assert read() == pytest.approx(12.5 + 10)


def test_watts_that_are_given_replace_the_counters(tmp_path: Path) -> None:
    """And where there are none, or none that can be read, a constant does."""
    stat = tmp_path / "stat"
    stat.write_text(STAT.format(1000))
    assert isinstance(read_joules_of(3.0, tmp_path, stat), ConstantPower)
    assert isinstance(read_joules_of(None, tmp_path, stat), ConstantPower)
    package(tmp_path, "intel-rapl:0", 1)
    package(tmp_path, "intel-rapl:0:0", 1)
    assert isinstance(read_joules_of(None, tmp_path, stat), RaplShare)
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("none\n")
    assert isinstance(read_joules_of(None, tmp_path, stat), ConstantPower)
    assert isinstance(read_joules_of(None, tmp_path, tmp_path / "missing"), ConstantPower)
