"""The settings are read again while the daemon serves, and what has changed takes effect.

A thread reads them, since a disk may keep its reader waiting; all else is one step of the daemon's loop. What an order
has said of workers and level stays, as long as the same setting has not changed.
"""

import logging
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from workers import log_lines
from workers.management.staff import Staff

from .changes import changes, take_on
from .core import Core
from .daemon_settings import Settings, SettingsFault
from .scheduling import POOLS
from .service_manager import ServiceManager

log = logging.getLogger("utxod")

Then = Callable[[dict[str, Any]], object]

# Why an order is refused.
ENDING: Final = "the daemon is ending"
# Of what is wrong with settings, in an answer.
_MOST_CHARACTERS: Final = 4000
# Of one that needs a restart: those whose values have any length are all among them, and few.
_MOST_SHOWN: Final = 500


class Reload:
    """settings: those that hold now. read_again: gives them as they are by now; raises SettingsFault. scale: has a pool
    have so many workers. descriptor: can be read when `finish` is to be called.

    Raises OSError where there is no descriptor.
    """

    def __init__(
        self,
        settings: Settings,
        read_again: Callable[[], Settings],
        core: Core,
        staff: Staff,
        scale: Callable[[str, int], None],
        service_manager: ServiceManager,
    ) -> None:
        self.settings = settings
        self._last_read = settings
        self._read_again = read_again
        self._core = core
        self._staff = staff
        self._scale = scale
        self._service_manager = service_manager
        self._read: Settings | str = ""
        self._waiting: list[Then] = []  # for what is being read
        self._late: list[Then] = []  # came when the reading had begun
        self.descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def begin(self, then: Then) -> None:
        """then: is told what came of it, in its time: {"ok", "changed", "at_the_next_start", "kept", "replaced"}, where
        the first three are maps of keys to what was and what is, or {"error"}."""
        if self._waiting:
            self._late.append(then)
        else:
            self._waiting.append(then)
            self._read_on()

    def _read_on(self) -> None:
        self._service_manager.reloading()
        try:
            threading.Thread(target=self._run, name="settings", daemon=True).start()
        except RuntimeError as error:
            self._read = f"they can't be read: {error}"
            os.eventfd_write(self.descriptor, 1)

    def finish(self, is_ending: bool) -> None:
        """They are read. is_ending: the daemon has been told to end since, and takes nothing on."""
        with suppress(BlockingIOError):
            os.eventfd_read(self.descriptor)
        waiting, self._waiting, self._late = self._waiting, self._late, []
        came = self._come_to(ENDING if is_ending else self._read)
        self._service_manager.reloaded()
        for then in waiting:
            then(came)
        if self._waiting:  # one more reading is for all who came late
            self._read_on()

    def close(self) -> None:
        if not self._waiting:  # a thread that still reads would tell of it where another may be by then
            os.close(self.descriptor)

    def _run(self) -> None:
        try:
            self._read = self._read_again()
        except SettingsFault as fault:
            self._read = str(fault)
        except Exception as defect:
            log.exception("a defect in reading the settings again")
            self._read = f"they can't be read: {defect}"
        os.eventfd_write(self.descriptor, 1)

    def _come_to(self, read: Settings | str) -> dict[str, Any]:
        if isinstance(read, str):
            log.error("reload: nothing is changed: %s", read)
            return {"error": f"nothing is changed: {read[:_MOST_CHARACTERS]}"}
        try:
            return self._take_on(read)
        except Exception as defect:
            log.exception("a defect in taking on the settings")
            return {"error": f"a defect of the daemon, which serves on; some of it may have changed: {defect}"}

    def _take_on(self, fresh: Settings) -> dict[str, Any]:
        changed = {key: [was, now] for key, was, now, is_live in changes(self._last_read, fresh) if is_live}
        for_a_start = {
            key: [_shown(was), _shown(now)] for key, was, now, is_live in changes(self.settings, fresh) if not is_live
        }
        self._last_read = fresh
        self.settings = settings = take_on(self.settings, fresh)
        self._core.change(settings.broker)
        for pool in POOLS:
            if f"workers.{pool}" in changed:
                self._scale(pool, getattr(settings.workers, pool))
        level = settings.log.level if "log.level" in changed else log_lines.level()
        if "log.format" in changed:
            log_lines.set_up(level, settings.log.format)
        kept = self._kept(level)
        log.info("reload: %s", _in_words(changed, for_a_start, kept))
        log_lines.set_level(level)
        self._staff.equip(
            settings.broker.budget_seconds, settings.broker.grace_seconds, settings.block_height_retention
        )
        replaced = self._staff.replace_all()
        log.info("replacing all workers")
        return {"ok": True, "changed": changed, "at_the_next_start": for_a_start, "kept": kept, "replaced": replaced}

    def _kept(self, level: str) -> dict[str, Any]:
        """What an order has made other than the settings say: what they say, and what it is."""
        said: dict[str, Any] = {f"workers.{pool}": getattr(self.settings.workers, pool) for pool in POOLS}
        found: dict[str, Any] = {f"workers.{pool}": self._staff.wanted(pool) for pool in POOLS}
        said["log.level"], found["log.level"] = self.settings.log.level, level
        return {key: [said[key], found[key]] for key in said if said[key] != found[key]}


def _shown(value: Any) -> Any:
    """Of a long one its beginning: an answer is bounded, and so is a line of the log."""
    text = str(value)
    return value if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


def _in_words(changed: dict[str, Any], for_a_start: dict[str, Any], kept: dict[str, Any]) -> str:
    parts = [f"{key} was {was}, and is {now}" for key, (was, now) in changed.items()]
    parts += [f"{key} stays {found} by order (the settings say {said})" for key, (said, found) in kept.items()]
    parts += [f"{key} needs a restart (is {was}, will be {now})" for key, (was, now) in for_a_start.items()]
    return "; ".join(parts) or "nothing has changed in the settings"
