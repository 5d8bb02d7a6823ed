"""The handshake: what a client must know of the daemon before it may ask anything, and when it has to ask that anew.

It sends HELLO; the daemon answers WELCOME with its epoch, its limits and its clock: a clock sample. The clock is taken
as if it had been read when the answer arrived. So the time of the round trip makes a deadline earlier, never later than
asked. After a slow round trip the handshake is repeated for a better sample, and of several samples the best counts.

Two clocks don't run at one speed, so the daemon's is sampled again every SAMPLE_PERIOD, and the newest sample replaces
the older ones. What remains is what the clocks drift apart between two samples: at 100 ppm (8.6 s a day) 6 ms in a
minute. Nothing waits for such a sample. If nobody answers, it is asked for again, and the one before stays in use.
"""

from typing import Final

from ..wire import Limits, Welcome

RETRY: Final = 1.0  # seconds until a HELLO that nobody answers is repeated; doubled each time, up to
RETRY_MAX: Final = 8.0
SLOW_ROUND_TRIP: Final = 0.1  # seconds; a round trip that took longer is repeated
MAX_SAMPLES: Final = 3  # until one is taken as it is
SAMPLE_PERIOD: Final = 60.0  # seconds


class Handshake:
    """epoch, limits, clock_offset: the daemon's, once `ready`. clock_offset: microseconds, the daemon's clock minus the
    client's. request_id: of the HELLO that awaits its answer, None where none does. due: seconds on the client's clock
    when HELLO is to be sent (again)."""

    def __init__(self) -> None:
        self.ready = False
        self.epoch: int | None = None
        self.limits = Limits()
        self.clock_offset = 0
        self.request_id: bytes | None = None
        self.due = 0.0
        self._sent_at = 0.0
        self._interval = RETRY
        self._samples = 0
        self._best_offset = 0  # of these samples
        self._before_sent: tuple[bytes | None, float, float, float] = (None, 0.0, 0.0, RETRY)

    def sent(self, request_id: bytes, now: float) -> None:
        """HELLO is handed to the socket."""
        self._before_sent = (self.request_id, self._sent_at, self.due, self._interval)
        self.request_id = request_id
        self._sent_at = now
        self.due = now + self._interval
        self._interval = min(RETRY_MAX, 2 * self._interval)

    def given_back(self) -> None:
        """HELLO could not be sent after all."""
        self.request_id, self._sent_at, self.due, self._interval = self._before_sent

    def restart(self, now: float) -> None:
        """What is known of the daemon holds no longer: nothing is sent until it has been asked anew."""
        self.ready = False
        self.request_id = None
        self.due = now
        self._interval = RETRY
        self._samples = 0

    def refused(self) -> None:
        """The daemon answered with an error. It is asked again when a silent one would be."""
        self.request_id = None

    def welcomed(self, welcome: Welcome, now: float) -> bool:
        """The answer has come. True where it is the first of a daemon."""
        new = welcome.epoch != self.epoch
        offset = welcome.clock - int(now * 1_000_000)
        self._best_offset = max(offset, self._best_offset) if self._samples and not new else offset
        self._samples += 1
        enough = now - self._sent_at <= SLOW_ROUND_TRIP or self._samples >= MAX_SAMPLES
        if enough or new or not self.ready:  # else the last one is better than a slow sample
            self.clock_offset = self._best_offset
        self.epoch, self.limits = welcome.epoch, welcome.limits
        self.ready = True
        self.request_id = None
        self._interval = RETRY
        self.due = now + SAMPLE_PERIOD if enough else now
        if enough:
            self._samples = 0
        return new
