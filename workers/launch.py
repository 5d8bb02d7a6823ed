"""What the daemon and a worker process agree on: the settings on its command line, the signal that makes it dump its
stacks and the memory that they are in then, and the exit status that says that it could not start. Both sides import
this, and nothing of each other."""

import signal
from dataclasses import dataclass
from typing import Final

# A worker that gets this writes the stack of each of its threads to a file in memory of that name, where the daemon
# finds it among the worker's descriptors. It is written in some hundred pieces: in the log they would lie between those
# of others that dump theirs at the same time.
DUMP_SIGNAL: Final = signal.SIGUSR1
STACKS: Final = "utxod-stacks"

# The exit status of a worker that could not start (a store that cannot be opened, say): restarting is no remedy.
START_FAILED_STATUS: Final = 3


@dataclass(frozen=True)
class WorkerSettings:
    """link: the descriptor of its side of the link to the broker, which it inherits. parent: the process to end with.
    budget_seconds: for the store, per dispatch. grace_seconds: by which a dispatch may outlast them. retention: blocks
    after which a spent transaction may go. may_create: a set that is not there is made."""

    pool: str
    link: int
    store: str
    parent: int
    budget_seconds: float
    grace_seconds: float
    retention: int
    may_create: bool = True

    @property
    def execution_limit_seconds(self) -> float:
        """How long one dispatch may keep it busy."""
        return self.budget_seconds + self.grace_seconds
