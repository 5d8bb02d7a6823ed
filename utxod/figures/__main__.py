"""The figures' process. The daemon starts it as a companion:

    python -m utxod.figures DAEMON '{"sockets": [7], "name": "db7", "listen": ["ipc:///run/utxod/utxod.sock"]}'

sockets: descriptors of listening sockets, which the daemon has bound. name: the host that they are bound for. listen:
the daemon's addresses.
"""

import json
import os
import socket
import sys
from typing import Final

from protocol import Client
from workers import log_lines
from workers.child import COMPANION_GOES_BEFORE, begin

from .asking import Asker, endpoint_to_ask
from .pages import pages
from .server import serve

# The client's grace, a quarter of a second, comes on top. A daemon that is well answers within milliseconds.
_TIMEOUT_SECONDS: Final = 2.0
# However many ask: the daemon and its workers come first.
_NICE: Final = 5


def main() -> None:
    begin(int(sys.argv[1]), COMPANION_GOES_BEFORE)
    os.nice(_NICE)
    log_lines.set_up_as_told("figures")
    told = json.loads(sys.argv[2])
    listening = [socket.socket(fileno=descriptor) for descriptor in told["sockets"]]
    client = Client(endpoint_to_ask(told["listen"]), timeout=_TIMEOUT_SECONDS)
    serve(listening, pages(Asker(client.status)), told["name"])


if __name__ == "__main__":
    main()
