"""Ports of a local cluster, and the process that uses a port."""

import socket
from contextlib import suppress

import psutil

from fedbus.cluster import registry
from fedbus.mqtt.mosquitto import free_port

HOST = "127.0.0.1"
DEFAULT_PORT = 1883
"""The default port of MQTT clients."""


def owner_of(port: int) -> str:
    """Name the listener on a local port: a cluster of this user, a process, or another program."""
    for one in registry.running():
        if one.address.port == port:
            return f"the cluster in {one.home}"
    with suppress(psutil.Error, OSError):
        for each in psutil.net_connections("tcp"):
            listens = each.status == psutil.CONN_LISTEN and each.pid
            if listens and each.laddr and each.laddr.port == port:
                return f"{psutil.Process(each.pid).name()} (process {each.pid})"
    return "another program"


def http_address(previous: str) -> str:
    """Return `host:port` for HTTP: the previous one if its port is free, else a free one."""
    if previous:
        with suppress(OSError, ValueError, OverflowError):
            socket.create_server((HOST, int(previous.rpartition(":")[2]))).close()
            return previous
    return f"{HOST}:{free_port()}"
