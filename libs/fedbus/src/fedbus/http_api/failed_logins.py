"""Limit of failed logins: how many requests with a wrong token one address may send. Pure.

The limit bounds what an attacker can make a service log and compute. It does not lock out a right
token that comes from the same address: a token has 256 random bits, so no client finds one by
trying, while all clients behind one proxy share its address.
"""

from collections import OrderedDict
from ipaddress import IPv6Address, ip_address
from typing import Final

MAX_FAILED_LOGINS: Final = 10
FAILED_LOGINS_SECONDS: Final = 60.0
MAX_LIMITED_ADDRESSES: Final = 10_000
_IPV6_SUBNET_BITS: Final = 64


class FailedLogins:
    """Failed logins of each address in the last minute."""

    def __init__(self) -> None:
        self._failed: OrderedDict[str, tuple[float, int]] = OrderedDict()  # since when, how many

    def record(self, address: str, now: float) -> float:
        """Count a failed login; return the seconds to wait, 0 while the limit is not reached.

        Args:
            address: The client's IP address; of IPv6 the subnet counts, as one client has it whole.
            now: Time in seconds of a clock that never goes back.
        """
        subnet = _subnet_of(address)
        since, count = self._failed.pop(subnet, (now, 0))
        if now - since >= FAILED_LOGINS_SECONDS:
            since, count = now, 0
        self._failed[subnet] = (since, count + 1)
        if len(self._failed) > MAX_LIMITED_ADDRESSES:
            self._failed.popitem(last=False)
        return since + FAILED_LOGINS_SECONDS - now if count >= MAX_FAILED_LOGINS else 0.0


def _subnet_of(address: str) -> str:
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is None:
        return str(int(parsed) >> (128 - _IPV6_SUBNET_BITS))
    return str(parsed)
