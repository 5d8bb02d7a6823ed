"""A real daemon and its transactions, for the commands that look at one: what they tell, as JSON and as text."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Self

from click.testing import CliRunner, Result

from protocol import Client
from store import Store
from store.transaction import Transaction
from tests.support.daemon import Daemon, running_daemon
from utxod.commands import cli
from utxod.generate import COIN, Generator

HEIGHT = 200


class LookedAt:
    """Of a store with two outputs a record. command: of utxod. keys: what it tells as JSON, always."""

    command: ClassVar[str]
    keys: ClassVar[set[str]]

    def __init__(self, daemon: Daemon, client: Client, store: Store) -> None:
        self.daemon, self.client, self.store = daemon, client, store
        self.generate = Generator()

    @classmethod
    @contextlib.contextmanager
    def serving(cls, directory: Path, store_kind: str) -> Iterator[Self]:
        settings = {"workers.read": 1, "workers.write": 1}
        with (
            running_daemon(directory, settings, store_kind, "&utxo_batch_size=2") as daemon,
            daemon.client() as client,
            daemon.store() as store,
        ):
            yield cls(daemon, client, store)

    def run(self, what: str | bytes, *arguments: str) -> Result:
        """what: a txid, or how a person names it."""
        name = what if isinstance(what, str) else what[::-1].hex()
        connect = ["--connect", self.daemon.endpoint, "--timeout", "30"]
        return CliRunner().invoke(cli, [self.command, name, *arguments, *connect])

    def told(self, what: str | bytes, *arguments: str) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self._output(what, *arguments, "--json"))
        assert set(told) == self.keys
        return told

    def text(self, what: str | bytes, *arguments: str) -> str:
        return " ".join(self._output(what, *arguments).split())

    def _output(self, what: str | bytes, *arguments: str) -> str:
        result = self.run(what, *arguments)
        assert (result.exit_code, result.stderr) == (0, ""), result.output
        return result.stdout

    def payment(self, outputs: int = 4, **options: Any) -> Transaction:
        """In the set. options: as of the client's `create`."""
        made = self.generate.payment([(self.generate.coinbase([10 * COIN]), 0)], outputs)
        self.client.create(made.raw, block_height=HEIGHT, **options)
        return made
