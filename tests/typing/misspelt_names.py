"""Misspelt names of packages that import on first use: mypy finds each, or an ignore is unused."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fedbus import conect  # type: ignore[attr-defined]  # of connect
    from fedbus.client import Clinet  # type: ignore[attr-defined]  # of Client
    from fedbus.data import npzz  # type: ignore[attr-defined]  # of npz
    from fedbus.plugins import Agregator  # type: ignore[attr-defined]  # of Aggregator
    from fedbus.wire.messages import TrainTsk  # type: ignore[attr-defined]  # of TrainTask

    _ = (Agregator, Clinet, TrainTsk, conect, npzz)
