"""What an operator asks of a daemon that runs, by a signal or at the administration socket.

    scale      {pool, workers}: the pool has so many from now on
    reload     the settings are read again (reload.py), then all workers are replaced, one after the other
    drain      as SIGTERM; asked again, it tells how far it is
    log-level  {level}: of the daemon and all its processes

An order may name the epoch of the daemon that it is meant for: a path can lead to another's socket. By signal:

    SIGTERM, SIGINT   drain: finish what is pending, within a limit; a second one ends at once
    SIGTTIN, SIGTTOU  one `write` worker more, one less
    SIGHUP            reload; where the terminal has closed, drain
    the others        no effect
"""

import logging
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, get_args, get_type_hints

from workers import log_lines
from workers.management.signals import is_from_kernel, signal_name
from workers.management.staff import Staff
from workers.management.terminal import Terminal

from .core import Core
from .daemon_settings import MOST_WORKERS, LogSettings, Settings
from .drain import Drain
from .reload import ENDING, Reload, Then
from .scheduling import POOLS, WRITE_POOL
from .service_manager import ServiceManager
from .transport.administration import Administration, Asker
from .transport.descriptors import reserve
from .transport.sockets import Transport

log = logging.getLogger("utxod")

_LEVELS: Final = get_args(get_type_hints(LogSettings)["level"])


class Refused(Exception):
    """The order is not carried out; the message says why, and what to do."""


class Orders:
    """drain: the end of the service, where it was ordered. read_again: gives the settings as they are by now; raises
    SettingsFault.

    Raises OSError where there are no descriptors.
    """

    def __init__(
        self,
        settings: Settings,
        read_again: Callable[[], Settings],
        core: Core,
        staff: Staff,
        transport: Transport,
        service_manager: ServiceManager,
    ) -> None:
        self.drain = Drain(core, service_manager)
        self._core = core
        self._staff = staff
        self._transport = transport
        self._terminal = Terminal()
        self._was_told_to_end = False  # by a signal
        self._reload = Reload(settings, read_again, core, staff, self._scale, service_manager)
        transport.watch(self._reload.descriptor)
        self._administration = Administration(Path(settings.state), transport.watch, transport.unwatch)

    @property
    def administration(self) -> str:
        """The path of the socket at which orders come in, "" where there is none."""
        return self._administration.path

    @property
    def settings(self) -> Settings:
        """Those that hold now."""
        return self._reload.settings

    def on_readable(self, descriptor: int) -> bool:
        """Whether it is one of those at which orders come in."""
        if descriptor == self._reload.descriptor:
            self._reload.finish(self.drain.is_begun)
        elif self._administration.owns(descriptor):
            for asker, request in self._administration.receive(descriptor):
                self._on_request(asker, request)
        else:
            return False
        return True

    def tend(self) -> None:
        """From time to time."""
        self._administration.tend()

    def close(self) -> None:
        """Who is still connected is told that the daemon has ended."""
        self._administration.answer_all({"ok": True, "ended": True, "unfinished": self.drain.unfinished})
        self._administration.close()
        self._transport.unwatch(self._reload.descriptor)
        self._reload.close()

    # ---- by signals

    def on_signal(self, info: signal.struct_siginfo) -> None:
        """What it means; anything else than these means nothing."""
        name = signal_name(info.si_signo)
        self._carry_out(name, lambda: self._obey_signal(info, name), _tell_nobody)

    def _obey_signal(self, info: signal.struct_siginfo, name: str) -> None:
        number = info.si_signo
        if number in (signal.SIGTERM, signal.SIGINT):
            if self._was_told_to_end:
                self.drain.cut_short(name, time.monotonic())
            else:  # a supervisor's SIGTERM that comes behind the order to drain is no second one
                self._was_told_to_end = True
                self._end(name)
        elif number == signal.SIGHUP:
            self._on_hangup(info)
        elif number in (signal.SIGTTIN, signal.SIGTTOU) and not is_from_kernel(info):
            # From the kernel it says that a process of the same job has used the terminal.
            count = self._staff.wanted(WRITE_POOL) + (1 if number == signal.SIGTTIN else -1)
            self._order_scale(WRITE_POOL, min(MOST_WORKERS, max(1, count)))
        else:
            log.info("%s: means nothing here (from process %d)", name, info.si_pid)

    def _on_hangup(self, info: signal.struct_siginfo) -> None:
        if not self._terminal.has_closed(info):
            self._order_reload(_tell_nobody)
        elif self._terminal.is_left_alone:
            log.info("SIGHUP: the terminal has closed; the daemon was started to outlive it (nohup), and goes on")
        else:
            self._end("SIGHUP, the terminal has closed")

    # ---- at the socket

    def _on_request(self, asker: Asker, request: Mapping[str, Any]) -> None:
        def answer(what: dict[str, Any]) -> None:
            self._administration.answer(asker, what)

        self._carry_out(f"process {asker.pid}", lambda: self._obey(request, asker.pid, answer), answer)

    def _obey(self, request: Mapping[str, Any], pid: int, answer: Then) -> None:
        if request.get("epoch", self._core.epoch) != self._core.epoch:
            raise Refused("this is the socket of another daemon than the one that told where it is")
        order = request.get("do")
        if order != "drain":  # which is asked again and again, and told of once
            words = " ".join(str(value) for name, value in request.items() if name != "epoch")
            log.info("process %d orders: %.200s", pid, words or "nothing")
        match order:
            case "scale":
                answer(self._answer_scale(request.get("pool"), request.get("workers")))
            case "reload":
                self._order_reload(answer)
            case "drain":
                if not self.drain.is_begun:
                    self._end(f"drain, ordered by process {pid}")
                left = self.drain.seconds_left(time.monotonic())
                answer({"ok": True, "pending": self._core.pending, "seconds_left": round(left, 1)})
            case "log-level":
                answer(self._answer_level(request.get("level")))
            case _:
                raise Refused(f"{order!r:.50} is no order: wanted scale, reload, drain or log-level")

    def _answer_scale(self, pool: object, count: object) -> dict[str, Any]:
        if not isinstance(pool, str) or pool not in POOLS:
            raise Refused(f"there is no pool {pool!r:.50}: wanted {', '.join(POOLS)}")
        if type(count) is not int or not 1 <= count <= MOST_WORKERS:
            raise Refused(f"workers: wanted a number from 1 to {MOST_WORKERS}, not {count!r:.50}")
        self._order_scale(pool, count)
        return {"ok": True, "pool": pool, "workers": self._staff.count(pool), "wanted": count}

    def _answer_level(self, level: object) -> dict[str, Any]:
        if level not in _LEVELS:
            raise Refused(f"there is no level {level!r:.50}: wanted {', '.join(_LEVELS)}")
        before = log_lines.level()
        log.info("the log's level is %s, and was %s", level, before)
        log_lines.set_level(str(level))
        return {"ok": True, "level": level, "before": before}

    # ---- what is done

    def _carry_out(self, who: str, order: Callable[[], None], answer: Then) -> None:
        """answer: is told where the order is refused, or fails by a defect, which the log is, too. who: gives it."""
        try:
            order()
        except Refused as refusal:
            log.warning("%s is refused: %s", who, refusal)
            answer({"error": str(refusal)})
        except Exception as defect:
            log.exception("%s: a defect in carrying out its order", who)
            answer({"error": f"a defect of the daemon, which serves on: {defect}"})

    def _order_reload(self, then: Then) -> None:
        self._refuse_at_the_end()
        self._reload.begin(then)

    def _order_scale(self, pool: str, count: int) -> None:
        self._refuse_at_the_end()
        self._scale(pool, count)

    def _refuse_at_the_end(self) -> None:
        if self.drain.is_begun:
            raise Refused(ENDING)

    def _end(self, why: str) -> None:
        self.drain.begin(why, self.settings.drain_seconds, time.monotonic())

    def _scale(self, pool: str, count: int) -> None:
        self._staff.scale(pool, count)
        self._transport.keep(reserve(self._staff.total()))


def _tell_nobody(came: dict[str, Any]) -> None:
    """The log says what came of it."""
