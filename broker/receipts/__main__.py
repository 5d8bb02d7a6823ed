"""The recorder's program: `python -m broker.receipts DAEMON EPOCH DIRECTORY SIZE LINK MEMORY`, started by the daemon as
a companion. It ends when the daemon is gone, and is not told to before: it has to read to the end."""

import signal
import socket
import sys
from pathlib import Path

from workers import log_lines
from workers.child import COMPANION_GOES_BEFORE, begin

from .mailbox import Mailbox
from .recorder import Recorder


def main() -> int:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    daemon, epoch, directory, size, link, memory = sys.argv[1:]
    begin(int(daemon), COMPANION_GOES_BEFORE, signal.SIGCONT)
    log_lines.set_up_as_told("recorder")
    Recorder(socket.socket(fileno=int(link)), Mailbox(int(memory)), int(epoch), Path(directory), int(size)).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
