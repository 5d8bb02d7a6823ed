"""The blocking client's driver: its callers drive it, leader and followers.

Who asks while nobody leads takes the lead: it sends, sleeps until something has come, and reads, for every caller,
until its own call is settled. Then it wakes one of those that still wait, to lead in its place, or leaves the watch to
the idle thread. So a call alone wakes nobody. Followers hand their calls over and wait, each on a queue of its own;
they wake the leader only where it sleeps, once however many they are, so that their calls travel together. Nobody
takes the lead from one who sleeps: what two sleep on wakes the wrong one.

What holds it together is not the lead, which can be lost. A turn is what one alone may have, and nobody sleeps in it.
So a leader that is interrupted, or whose thread does something else in a signal's handler, holds up nobody for long:
each who waits looks every LOOK seconds whether somebody still has a turn now and then, and leads if not.

Whatever is raised in a turn is its thread's own, be it a KeyboardInterrupt, a signal handler's TimeoutError or the end
of the stack: it is raised there, and the next turn starts over with a new session and a new connection.
"""

import math
import sys
import threading
import time
from _thread import get_ident
from collections import deque
from collections.abc import Callable, Iterable
from queue import Empty, SimpleQueue
from typing import Final

from .. import codes
from ..wire import Error
from .call import Call
from .driver import CLOSE_WAIT, CLOSED, FORKED, Driver, refusal
from .errors import NoAnswer
from .promises import LOOK, Promises
from .shared_poll import SharedPoll
from .split_call import ids_of

ENDING: Final = "the program ends"
WITHIN: Final = (
    "asked by a signal's handler or a finalizer that came in the middle of the client's own work: "
    "ask after it has returned"
)
NOBODY: Final = 0  # in place of a thread: nobody waits for the call just now
IDLE_MAX: Final = 3600.0  # seconds
_DISTRUST: Final = 0.5  # seconds beyond deadline and grace after which a caller no longer relies on who leads
_FAILURES: Final = 3  # of the idle thread's own turns, in a row, which nobody has interrupted


class ThreadDriver(Driver):
    """Raises zmq.ZMQError where the endpoint is invalid, RuntimeError where no thread is left."""

    def __init__(self, endpoint: str, grace: float) -> None:
        self._grace = grace
        self._handed: deque[Call] = deque()
        self._leader: Call | None = None  # its caller leads, or is to
        self._asleep = 0  # the thread that leads, while it sleeps
        self._turns = threading.RLock()  # one at a time: who holds it has the channel, and all that is behind it
        self._turning = 0  # the thread whose turn it is
        self._turned_at = self._due = 0.0  # the last turn was; the next one is, though nothing that is watched says so
        self._idle_until = math.inf
        self._failures = 0
        self.promises = Promises(self)
        self._poll = SharedPoll()
        try:
            super().__init__(endpoint, grace)
        except BaseException:
            self._poll.close()
            raise
        self._thread = threading.Thread(target=self._run, name="utxod-client", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:
            self._ended = CLOSED
            self._give_back()
            raise
        except BaseException:  # interrupted: it may run by now, and then what is its own is its to end
            self._request_end()
            raise

    def ask(self, call: Call) -> Call:
        """Blocks until the call is settled, and returns it; it may have been begun before. Raises ClientClosed where it
        cannot be asked."""
        me = self.admit()
        begun = call.waiter is not None
        call.waiter = call.waiter or SimpleQueue()
        try:
            self._asked[call] = me
            if not begun:
                self._handed.append(call)
            settled = self._settled(call, me)
        except BaseException:  # interrupted: nobody waits for it any more, and what has not left yet stays here
            self._forget(call)
            self._leave(call)
            raise
        finally:
            self._asked.pop(call, None)
        return settled

    def begin(self, call: Call) -> None:
        """Asks, and waits for nothing: `ask` does that later, or else `drop` is to be called. Raises ClientClosed."""
        self.admit()
        call.waiter = call.waiter or SimpleQueue()
        try:
            self._asked[call] = NOBODY
            self._handed.append(call)
            if self._ended:
                self._exclusively(self._settle)
            elif self._asleep:
                self.wake()
            elif self._leader not in self._asked:
                self._poll.ring()
        except BaseException:
            self.drop(call)
            raise

    def drop(self, call: Call) -> None:
        """Nobody waits any more for what was begun."""
        if self._asked.pop(call, None) is not None and not call.settled:
            self._forget(call)

    def given_up(self, call: Call, now: float) -> Call | None:
        """Another call in its place, where all that is to settle it has failed."""
        if now <= call.deadline + self._grace + _DISTRUST or self._reads_on(now):
            return None
        instead = Call(call.operation, b"", call.count)
        instead.ids = ids_of(call)
        instead.fail(Error(codes.NO_ANSWER, codes.UNKNOWN, "nothing that drives the client gets to run"))
        return instead

    def look(self) -> None:
        """Has a turn where nobody has had one for long. To be called every LOOK seconds while something is begun that
        nobody waits for."""
        if self._ended:
            self._exclusively(self._settle)
        elif time.monotonic() - self._turned_at > LOOK:
            self._exclusively(self._turn)

    def pause(self, seconds: float) -> None:
        """Returns when the time is over, or the client is closed."""
        end = time.monotonic() + seconds
        while not self._ended and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, LOOK))

    def close(self) -> None:
        """Settles every call. Any thread may call it, more than once."""
        self._request_end()
        if self._ended == FORKED or sys.is_finalizing():
            return  # there is no such thread
        # By looks, not by the clock: where this process stood still, one look, or all that was left, is over at once.
        for looks in range(math.ceil(CLOSE_WAIT / LOOK)):
            if self._exclusively(self._settle):
                self.promises.settle_all()
                if threading.current_thread() is not self._thread:
                    self._thread.join(CLOSE_WAIT - looks * LOOK)
                return

    def forked(self) -> None:
        """The copy takes nothing out of what the parent sleeps on, and waits for no thread that it does not have."""
        super().forked()
        self._poll.forked()
        self._turns = threading.RLock()

    # What the channel asks of its driver.

    def watch(self, descriptor: int) -> None:
        self._poll.add(descriptor)

    def unwatch(self, descriptor: int) -> None:
        self._poll.remove(descriptor)

    def wake(self) -> None:
        """One ring is enough, however many hand over meanwhile: they don't wake the leader again."""
        try:
            self._asleep = 0
            self._poll.ring()
        except BaseException:  # interrupted, and others relied on it
            self._poll.ring()
            raise

    # The callers.

    def admit(self) -> int:
        """The thread that asks. Raises ClientClosed, or NoAnswer, where it can't."""
        if sys.is_finalizing():
            self._ended = self._ended or ENDING
        if self._ended:
            raise refusal(self._ended)
        me = get_ident()
        if self._turning == me:
            raise NoAnswer(Error(codes.NO_ANSWER, codes.NO, WITHIN))
        return me

    def _settled(self, call: Call, me: int) -> Call:
        """The call, once it is; or another in its place, where all that is to settle it has failed."""
        while not call.settled:
            now = time.monotonic()
            if self.given_up(call, now) is not None:
                self._exclusively(self._turn)  # all it takes, where this process stood still
                given_up = self.given_up(call, now)
                if given_up is None or call.settled:
                    continue
                self._forget(call)
                return given_up
            leader = self._leader
            if self._ended:
                self._exclusively(self._settle)  # all had been settled, maybe, before this one was there
            elif leader not in self._asked or self._asked[leader] == me or now - self._turned_at > LOOK:
                self._leader = call  # in one with the looks, as the interpreter switches threads at calls: one takes it
                self._lead(call, me, leader)
            else:
                if self._asleep and self._handed:
                    self.wake()
                try:  # noqa: SIM105 - the usual case, and half the price
                    call.waiter.get(timeout=LOOK)
                except Empty:
                    pass
        if self._leader is call:  # chosen when another's turn had settled it already
            self._leave(call)
        return call

    def _reads_on(self, now: float) -> bool:
        """Somebody reads, turn by turn, what a single one is too short for."""
        return self._channel.is_behind and now - self._turned_at <= LOOK

    def _lead(self, call: Call, me: int, before: Call | None) -> None:
        try:
            self._poll.hold_idle()
            while self._exclusively(self._turn) and not (call.settled or self._ended):
                if self._leader is not call:  # it was lost, and another has taken it
                    return
                self._sleep(call, me)
        finally:
            if before is not call and before in self._asked and self._asked[before] == me:
                # This call is of a signal's handler: the one that leads sleeps beneath, and may be settled by now.
                if self._leader is call:
                    self._leader = before
                self.wake()
            else:
                self._leave(call)

    def _sleep(self, call: Call, me: int) -> None:
        self._asleep = me
        if not (self._handed or self._ended or call.settled):
            self._poll.wait(max(0.0, min(self._due - time.monotonic(), LOOK)))
        if self._asleep == me:
            self._asleep = 0

    def _leave(self, call: Call) -> None:
        if self._leader is call:
            self._leader = None
        self._hand_on()

    def _hand_on(self) -> None:
        """Where nobody leads, one who waits is to, or else the idle thread watches. It is the one that asked last:
        whose answers have come just now ask again before it gets to run, so that what they ask travels together. Who
        was told before, and has not come to see it, is in a signal's handler: until it comes, who asks leads."""
        if self._leader in self._asked:
            return
        asked = list(self._asked)
        waiting = [call for call in asked if self._asked.get(call) and not call.settled and call.waiter is not None]
        for call in reversed(waiting):
            if call.waiter.empty():
                self._leader = call
                call.waiter.put(None)
                return
        if waiting:
            return
        self._poll.rouse_idle()
        if self._handed or self._due < self._idle_until - 0.001:
            self._poll.ring()

    def _forget(self, call: Call) -> None:
        """In the next turn."""
        call.waiter = None
        self._handed.append(call)

    # A turn.

    def _exclusively(self, work: Callable[[], None]) -> bool:
        """False where it was somebody else's turn all the time. An interrupt is only ever raised when a call returns,
        so that the lock is given back in any case: by being held, or not, it says itself whether it is to be."""
        me = get_ident()
        if self._turning == me:
            return False
        try:
            if not (
                self._turns.acquire(blocking=False)
                or self._turns.acquire(timeout=LOOK / 2)
                or self._turns.acquire(timeout=LOOK / 2)  # where this process stood still, the first was over at once
            ):
                return False
            self._turning = me
            work()
            return True
        finally:
            if self._turning == me:
                self._turning = 0
            try:  # noqa: SIM105 - no other call may come before this one
                self._turns.release()
            except RuntimeError:  # it was not had
                pass

    def _turn(self) -> None:
        if self._ended:
            return
        if self._cut:
            self._start_over(self._handed)
        self._cut, self._due = True, 0.0
        self._take_handed()
        self._channel.turn()
        settled = self.session.take_settled()
        self._wake_callers(settled)
        if settled and self._asleep:  # this is not the leader's turn, and it may be the leader's call
            self.wake()
        seconds = self._channel.seconds_until_due()
        self._turned_at = time.monotonic()
        self._due = math.inf if seconds is None else self._turned_at + seconds
        self._cut = False

    def _take_handed(self) -> None:
        while self._handed:
            call = self._handed.popleft()
            if call.waiter is None:
                self.session.cancel(call)
            else:
                self.session.submit(call)

    def _wake_callers(self, calls: Iterable[Call]) -> None:
        for call in calls:
            _tell(call)

    # The idle thread.

    def _run(self) -> None:
        try:
            while not self._ended:
                self._idle_until = self._watch()
                self._poll.wait_idle(max(0.0, min(self._idle_until - time.monotonic(), IDLE_MAX)))
        except BaseException as error:
            self._ended = self._ended or f"the client failed: {error!r}"
            self._request_end()
            raise
        finally:
            self._give_back()

    def _watch(self) -> float:
        """Has a turn where nobody leads. Returns until when to sleep."""
        now = time.monotonic()
        if self._leader in self._asked and now - self._turned_at <= LOOK:
            self._poll.hold_idle()  # roused, it may be, by one that left while another took the lead
            return now + LOOK
        self._leader = None
        self._poll.wait(0)  # if it was the bell, it has been heard
        try:
            self._exclusively(self._turn)
            self._failures = 0
        except Exception:
            self._failures += 1
            if self._failures == _FAILURES:
                raise
        self._hand_on()
        return self._due

    # The end.

    def _request_end(self) -> None:
        """Never waits. Whoever sleeps is told again each time: an interrupt may have kept it asleep the first time."""
        if self._ended != FORKED:
            self._ended = self._ended or CLOSED
            self._poll.end()

    def _settle(self) -> None:
        self._take_handed()
        self._settle_all(self._ended)
        if self._ended != FORKED:
            self._channel.close()

    def _give_back(self) -> None:
        while not self._exclusively(self._settle):
            pass
        self._channel.free()
        self._poll.close()


def _tell(call: Call) -> None:
    waiter = call.waiter
    if waiter is not None:
        waiter.put(None)
