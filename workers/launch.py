"""What the daemon and a worker process agree on: the settings on its command line, the signal that makes it dump its
stacks, and the exit status that says that it could not start. Both sides import this, and nothing of each other."""

import signal
from dataclasses import dataclass
from typing import Final

# A worker that gets this writes the stack of each of its threads to the log.
DUMP_SIGNAL: Final = signal.SIGUSR1

# The exit status of a worker that could not start (a store that cannot be opened, say): restarting is no remedy.
START_FAILED_STATUS: Final = 3


@dataclass(frozen=True)
class WorkerSettings:
    """link: the descriptor of its side of the link to the broker, which it inherits. parent: the process to end with.
    budget_seconds: for the store, per dispatch. grace_seconds: by which a dispatch may outlast them. retention: blocks
    after which a spent transaction may go."""

    pool: str
    link: int
    store: str
    parent: int
    budget_seconds: float
    grace_seconds: float
    retention: int
