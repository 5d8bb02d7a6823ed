"""The greeting: what a client must know of the daemon before it may ask anything, and when it has to ask that anew.

The daemon's clock is taken as if it had been read when the answer arrived. So the time of the journey makes a deadline
earlier, never later than asked; where the journey was slow the greeting is repeated for a closer look, and of several
looks the best counts.

Two clocks don't run at one speed, so the daemon's is looked at again every PERIOD, and the newest look replaces the
older ones. What remains is what the clocks drift apart between two looks: at 100 ppm (8.6 s a day) 6 ms in a minute.
Nothing waits for such a look. Where nobody answers it, it is repeated, and what was known before holds on.
"""

from typing import Final

from ..wire import Limits, Welcome

AGAIN: Final = 1.0  # seconds until a greeting that nobody answers is repeated; doubled each time, up to
AGAIN_MAX: Final = 8.0
SLOW: Final = 0.1  # seconds; a journey that took longer is repeated
LOOKS: Final = 3  # at most, until one is taken as it is
PERIOD: Final = 60.0  # seconds


class Greeting:
    """epoch, limits, clock_offset: the daemon's, once `ready`. clock_offset: microseconds, the daemon's clock minus the
    client's. due: seconds on the client's clock when it is to be sent (again)."""

    def __init__(self) -> None:
        self.ready = False
        self.epoch: int | None = None
        self.limits = Limits()
        self.clock_offset = 0
        self.request_id: bytes | None = None
        self.due = 0.0
        self._sent_at = 0.0
        self._interval = AGAIN
        self._looks = 0
        self._best = 0  # offset of these looks
        self._before: tuple[bytes | None, float, float, float] = (None, 0.0, 0.0, AGAIN)  # the last `sent`

    def sent(self, request_id: bytes, now: float) -> None:
        self._before = (self.request_id, self._sent_at, self.due, self._interval)
        self.request_id = request_id
        self._sent_at = now
        self.due = now + self._interval
        self._interval = min(AGAIN_MAX, 2 * self._interval)

    def kept(self) -> None:
        """It could not be sent after all."""
        self.request_id, self._sent_at, self.due, self._interval = self._before

    def again(self, now: float) -> None:
        """What is known of the daemon holds no longer: nothing is sent until it has been asked anew."""
        self.ready = False
        self.request_id = None
        self.due = now
        self._interval = AGAIN
        self._looks = 0

    def refused(self) -> None:
        """The daemon said no. It is asked again when a silent one would be."""
        self.request_id = None

    def welcomed(self, welcome: Welcome, now: float) -> bool:
        """The answer has come. True where it is the first of a daemon."""
        new = welcome.epoch != self.epoch
        offset = welcome.clock - int(now * 1_000_000)
        self._best = max(offset, self._best) if self._looks and not new else offset
        self._looks += 1
        enough = now - self._sent_at <= SLOW or self._looks >= LOOKS
        if enough or new or not self.ready:  # else the last one is better than a slow look
            self.clock_offset = self._best
        self.epoch, self.limits = welcome.epoch, welcome.limits
        self.ready = True
        self.request_id = None
        self._interval = AGAIN
        self.due = now + PERIOD if enough else now
        if enough:
            self._looks = 0
        return new
