"""The limit of failed logins: per address and minute, with bounded memory."""

from fedbus.http_api.failed_logins import (
    FAILED_LOGINS_SECONDS,
    MAX_FAILED_LOGINS,
    MAX_LIMITED_ADDRESSES,
    FailedLogins,
)


def test_an_address_has_some_failed_logins_a_minute() -> None:
    """Then it is told how long to wait; another address is not concerned."""
    failed = FailedLogins()
    assert [failed.record("192.0.2.1", 100.0) for _ in range(MAX_FAILED_LOGINS)] == [0.0] * 10
    assert failed.record("192.0.2.1", 130.0) == 30.0
    assert failed.record("192.0.2.2", 130.0) == 0.0
    assert failed.record("192.0.2.1", 100.0 + FAILED_LOGINS_SECONDS) == 0.0


def test_addresses_of_one_ipv6_subnet_are_one_client() -> None:
    """An IPv4 address that is mapped into IPv6 stays one address; a name is one too."""
    failed = FailedLogins()
    for number in range(MAX_FAILED_LOGINS):
        assert failed.record(f"2001:db8::{number:x}", 0.0) == 0.0
        assert failed.record("::ffff:192.0.2.1", 0.0) == 0.0
        assert failed.record("unix", 0.0) == 0.0
    assert failed.record("2001:db8::ffff%eth0", 0.0) == 60.0
    assert failed.record("2001:db8:0:1::1", 0.0) == 0.0
    assert failed.record("::ffff:192.0.2.1", 0.0) == 60.0
    assert failed.record("::ffff:192.0.2.2", 0.0) == 0.0
    assert failed.record("unix", 0.0) == 60.0


def test_the_oldest_address_is_forgotten() -> None:
    """So that many addresses do not use up the memory."""
    failed = FailedLogins()
    for _ in range(MAX_FAILED_LOGINS):
        failed.record("192.0.2.1", 0.0)
    for number in range(MAX_LIMITED_ADDRESSES):
        failed.record(f"host-{number}", 0.0)
    assert failed.record("192.0.2.1", 0.0) == 0.0
    assert len(failed._failed) == MAX_LIMITED_ADDRESSES  # noqa: SLF001 - the bound
