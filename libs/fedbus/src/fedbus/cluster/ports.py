"""Which ports a local cluster takes, and who has those that it cannot."""

import socket
from contextlib import suppress

import psutil

from fedbus.cluster import registry
from fedbus.mqtt.mosquitto import free_port

HOST = "127.0.0.1"
DEFAULT_PORT = 1883
"""The one that every MQTT client tries first."""


def owner_of(port: int) -> str:
    """Name who listens on a port here: a cluster of this user's, a process, or somebody else."""
    for one in registry.running():
        if one.address.port == port:
            return f"the cluster in {one.home}"
    with suppress(psutil.Error, OSError):
        for each in psutil.net_connections("tcp"):
            listens = each.status == psutil.CONN_LISTEN and each.pid
            if listens and each.laddr and each.laddr.port == port:
                return f"{psutil.Process(each.pid).name()} (process {each.pid})"
    return "another program"


def http_address(before: str) -> str:
    """Choose `host:port` for HTTP: that of last time if nobody listens there now, or a free one."""
    if before:
        with suppress(OSError, ValueError, OverflowError):
            socket.create_server((HOST, int(before.rpartition(":")[2]))).close()
            return before
    return f"{HOST}:{free_port()}"
