"""What every process that the daemon starts does first, after the interpreter: workers, and companions
(management/companion.py).

Its signals are no longer held back as the daemon's are; its log waits for nobody; it ends with the daemon, also while
it is stopped; and where memory runs short it goes before the daemon, which owes the answers.
"""

import ctypes
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from .nonblocking_stderr import replace_stderr

# Thousandths of all memory (of the control group, where that has a limit) that the kernel counts as held beside what
# is. A daemon that holds by so much more than a worker is the one to go: to kill small ones would give nothing back.
WORKER_GOES_BEFORE: Final = 500
COMPANION_GOES_BEFORE: Final = 600

_PR_SET_PDEATHSIG: Final = 1
_OOM_SCORE: Final = Path("/proc/self/oom_score_adj")
_HIGHEST_OOM_SCORE: Final = 1000


def begin(daemon: int, goes_before: int, when_it_dies: signal.Signals = signal.SIGKILL) -> None:
    """daemon: its pid; where that is gone already this process exits. goes_before: one of the constants above.

    when_it_dies: sent by the kernel once the daemon is gone. Who has something to finish then, and ends by itself,
    takes SIGCONT: it may be stopped."""
    # A terminal with `tostop` may not stop who writes to it.
    signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGTTOU})
    replace_stderr()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, when_it_dies)
    if os.getppid() != daemon and when_it_dies == signal.SIGKILL:
        sys.exit("the daemon is gone")
    # Upwards anybody may; where /proc is not to be written to, the kernel goes by size alone.
    with suppress(OSError, ValueError):
        score = int(_OOM_SCORE.read_text()) + goes_before
        _OOM_SCORE.write_text(str(min(score, _HIGHEST_OOM_SCORE)))
