"""What the daemon tells who asks for its status: the answer to STATUS, as protocol.md says of REPORT."""

import os
import time
from pathlib import Path
from typing import Any

from workers.management.staff import Staff
from workers.nonblocking_stderr import lines_dropped

from .core import Core
from .daemon_settings import numbers
from .orders import Orders
from .receipts.channel import Channel
from .sweep_timer import SweepTimer
from .transport.figures_place import FiguresPlace
from .transport.sockets import Transport


class Reporter:
    """version: the daemon's. state: its directory. The rest is what there is to tell of."""

    def __init__(
        self,
        version: str,
        state: Path,
        core: Core,
        transport: Transport,
        sweep_timer: SweepTimer,
        staff: Staff,
        orders: Orders,
        figures_place: FiguresPlace,
        receipts: Channel,
    ) -> None:
        self._version = version
        self._state = str(state)
        self._core = core
        self._transport = transport
        self._sweep_timer = sweep_timer
        self._staff = staff
        self._orders = orders
        self._figures_place = figures_place
        self._receipts = receipts
        self._started, self._started_at = time.monotonic(), time.time()

    def report(self, now: int) -> dict[str, Any]:
        """now: microseconds on the daemon's clock."""
        broker = self._core.report(now)
        if self._transport.excess:
            broker["counters"]["excess frames"] = self._transport.excess
        for name, pool in broker["pools"].items():
            pool["workers_wanted"] = self._staff.wanted(name)
        broker["log_lines_dropped"]["daemon"] = lines_dropped()
        broker["figures"] |= self._sweep_timer.figures() | self._staff.figures() | self._receipts.figures()
        settings = self._orders.settings
        return {
            "version": self._version,
            "pid": os.getpid(),
            "started_at": self._started_at,
            "uptime_seconds": round(time.monotonic() - self._started, 3),
            "longest_standstill_seconds": round(self._sweep_timer.longest_standstill, 3),
            "store": settings.store,
            "state": self._state,
            "metrics": self._figures_place.address,
            "administration": self._orders.administration,
            **self._transport.report(),
            **broker,
            "processes": self._staff.report(),
            "settings": dict(numbers(settings)),
        }
