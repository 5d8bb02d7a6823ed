"""Asks a daemon again and again, and shows a frame for each report: until a key or a signal ends it."""

import asyncio
import os
import signal
import time
from contextlib import ExitStack
from typing import Final

from rich.live import Live

from protocol import AsyncClient, UtxodError
from utxod.interval import Report
from utxod.live import lack_of_figures
from utxod.rendering import console
from utxod.screen import RETRY_SECONDS, Screen

from .frame import frame
from .head import Gone
from .history import History
from .keyboard import keys, stop_in_background

_END_KEYS: Final = "qQ"
# Beyond the time for the next report; the frame says then that there was none.
_LATE_SECONDS: Final = 1.0
# A frame comes so often also where no report does: it says for how long.
_FRAME_SECONDS: Final = 1.0
# No colour, a cursor, and what was on the terminal before.
_NO_FRAMES: Final = "\x1b[m\x1b[?25h\x1b[?1049l"


class Watch:
    """screen: where it is shown. first: a report to begin with. interval: seconds between two. timeout: seconds that a
    report may take."""

    def __init__(self, screen: Screen, first: Report, interval: float, timeout: float) -> None:
        self._screen = screen
        self._console = console(screen)
        self._history = History(first)
        self._interval = interval
        self._timeout = timeout
        self._answered = time.monotonic()
        self._why = "no answer"
        self._ended = asyncio.Event()
        self._changed = asyncio.Event()

    async def run(self, endpoint: str) -> None:
        """Until a key ends it; raises CancelledError where a signal does. The terminal is left as it was."""
        loop = asyncio.get_running_loop()
        async with AsyncClient(endpoint, timeout=self._timeout) as client:
            loop.add_signal_handler(signal.SIGWINCH, self._changed.set)
            loop.add_signal_handler(signal.SIGTSTP, self._suspend)
            self._enter()  # only then: Ctrl-Z would leave the frames on the terminal
            tasks = [asyncio.create_task(work) for work in (self._ended.wait(), self._ask(client), self._show())]
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                self._drawn.close()
        for task in done:
            task.result()  # what has gone wrong in it is told

    async def _ask(self, client: AsyncClient) -> None:
        while True:
            began = time.monotonic()
            try:
                self._take(await client.status())
            except UtxodError as error:
                self._why = error.message
            await asyncio.sleep(max(0.0, began + self._interval - time.monotonic()))

    def _take(self, report: Report) -> None:
        if lacking := lack_of_figures(report):  # the next daemon at that address is of another version
            self._why = lacking
            return
        self._history.add(report)
        self._answered = time.monotonic()
        self._changed.set()

    async def _show(self) -> None:
        while True:
            width, height = self._console.size
            shown = frame(self._history, self._gone(), time.strftime("%H:%M:%S"), width, height)
            self._live.update(shown, refresh=True)
            while self._screen.waits:  # meanwhile what comes is not drawn
                await asyncio.sleep(RETRY_SECONDS)
                self._screen.flush()
            try:
                async with asyncio.timeout(_FRAME_SECONDS):
                    await self._changed.wait()
            except TimeoutError:
                if self._gone():
                    self._history.miss()
            self._changed.clear()

    def _gone(self) -> Gone | None:
        seconds = time.monotonic() - self._answered
        return Gone(seconds, self._why) if seconds > self._interval + _LATE_SECONDS else None

    # ---- the terminal

    def _enter(self) -> None:
        stop_in_background()
        self._drawn = ExitStack()
        self._drawn.callback(self._screen.leave, _NO_FRAMES)
        self._live = Live(
            console=self._console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
        )
        self._drawn.enter_context(self._live)
        self._drawn.enter_context(keys(self._pressed))

    def _suspend(self) -> None:
        """Ctrl-Z: the shell gets its terminal as it was; when this process goes on, the frames do."""
        self._drawn.close()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._enter()
        self._changed.set()

    def _pressed(self, key: str) -> None:
        (self._ended if key in _END_KEYS else self._changed).set()
