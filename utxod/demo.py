"""The demo: what the daemon is for, shown on real and on generated transactions, and checked.

Nothing is only said: what does not hold is printed as such, and makes the exit code 1.
"""

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Mapping
from importlib import resources
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from protocol import AsyncClient, Client, Spent, UtxodError, codes
from store.transaction import Transaction, parse_transaction

from .balance import Balance, read_balance
from .feeder import Fate, Feeder, Tally
from .generate import COIN, Generator
from .interruption import run_to_an_end
from .own_daemon import EMBEDDED, DaemonError, own_daemon
from .rendering import console

COINS: Final = 2_000
FUNDING_HEIGHT: Final = 1
# Beyond the coinbases' maturity of 100 blocks.
HEIGHT: Final = 200
RIVAL_EVERY: Final = 40
_LOOK_SECONDS: Final = 0.01
_DRAW_SECONDS: Final = 0.1
_PATIENCE_SECONDS: Final = 60.0


def run_demo(transactions: int, seed: int, store: str | None = None) -> int:
    """Shows it all; returns the exit code. transactions: how many payments are generated. store: its URL; None for a
    temporary one."""
    to = console()
    demo = _Demo(to)
    started = time.monotonic()
    to.print(Text.assemble(("utxod", "bold"), ": a daemon with 4 workers, on ", store or "a temporary store"))
    try:
        with own_daemon(store or EMBEDDED, ["--set", "workers.read=2"]) as daemon:
            with Client(daemon.endpoint) as client:
                demo.first_payment(client)
                demo.double_spend(client, seed)
            run_to_an_end(demo.killed_worker(daemon.endpoint, transactions, seed))
    except (DaemonError, UtxodError) as error:
        to.print(str(error), style="red")
        return 1
    to.print(f"\n{demo.verdict()} ({time.monotonic() - started:.1f} s)", markup=True)
    return 1 if demo.broken else 0


def first_transactions() -> list[tuple[int, Transaction]]:
    """Bitcoin's first payment, its origin and what became of its change: (block height, transaction)."""
    text = resources.files("utxod").joinpath("data/first-spends.json").read_text()
    return [(entry["block_height"], parse_transaction(bytes.fromhex(entry["raw"]))) for entry in json.loads(text)]


class _Demo:
    """broken: what should have held and did not."""

    def __init__(self, to: Console) -> None:
        self._to = to
        self._titles = 0
        self.broken: list[str] = []

    def verdict(self) -> str:
        if self.broken:
            return "\n".join(f"[red]does not hold: {what}" for what in self.broken)
        return "[green]all of it holds[/green]"

    def first_payment(self, client: Client) -> None:
        self._title("The first payment in Bitcoin's history")
        for height, transaction in first_transactions():
            accepted = client.accept(transaction.raw, block_height=height, mined=[(height, height, 0)])
            paid = [output.satoshis for output in transaction.outputs]
            values = " + ".join(f"{value / COIN:g}" for value in paid)
            origin = "mined"
            if not transaction.is_coinbase:
                origin = f"spends {(sum(paid) + accepted.metadata['fee']) / COIN:g}"
            self._line(f"block {height:>3}  {_short(transaction.txid)}  {origin}, pays {values}")

    def double_spend(self, client: Client, seed: int) -> None:
        self._title("The same coin a second time")
        _, (_, payment), (_, change) = first_transactions()
        theft = Generator(seed).payment([(payment, 1)])
        try:
            client.accept(theft.raw, block_height=HEIGHT)
        except Spent as error:
            spender = bytes(error.details["spending_txid"])
            self._line(f"refused: [bold]{error.code}[/bold], by {spender[::-1].hex()}")
            self._expect(spender == change.txid, "the spender named is the one of block 181")
        else:
            self._expect(False, "a second spend of the same coin is refused")

    async def killed_worker(self, endpoint: str, count: int, seed: int) -> None:
        self._title(f"{count:,} payments, and a worker killed half way, with work in its hands")
        generator = Generator(seed)
        funding = [generator.coinbase([COIN] * 100, FUNDING_HEIGHT) for _ in range(COINS // 100)]
        coins = [(coinbase, vout) for coinbase in funding for vout in range(100)]
        payments = list(generator.economy(count, coins, rival_every=RIVAL_EVERY))
        pairs = count - len({payment.inputs[0].raw[:36] for payment in payments})
        self._line(f"{COINS:,} coins, spent in chains; among the payments {pairs:,} pairs that spend the same coins")
        fates: dict[bytes, Fate] = {}

        async with AsyncClient(endpoint) as client:
            async with self._progress(len(funding) + len(payments)) as advance:

                def done(transaction: Transaction, fate: Fate) -> None:
                    fates[transaction.txid] = fate
                    advance()

                started, report = time.monotonic(), await client.status()
                async with Feeder(client, done=done) as feeder:
                    for transaction in funding:
                        await feeder.feed(transaction, FUNDING_HEIGHT)
                    await feeder.settle()
                    for number, transaction in enumerate(payments, 1):
                        if number < count // 2 or codes.WORKER_CRASHED in _faults(report):
                            await feeder.feed(transaction, HEIGHT)
                            continue
                        pid = await _until(client, _writer)
                        await feeder.feed(transaction, HEIGHT)
                        report = await _kill_at_work(client, pid)
                        self._line(f"[yellow]payment {number:,}: SIGKILL to worker process {pid}[/yellow]")
                seconds = time.monotonic() - started
            faults = _faults(await client.status())
            self._expect(codes.WORKER_CRASHED in faults, "what a killed worker had in hand is told")
            self._answers(feeder.tally, faults, seconds)
            kept = (Fate.CREATED, Fate.EXISTED)
            present = [transaction for transaction in funding + payments if fates[transaction.txid] in kept]
            absent = [transaction for transaction in payments if fates[transaction.txid] not in kept]
            self._title("The balance, read back from the store")
            self._balance(await read_balance(client, present, absent), feeder.tally)

    def _answers(self, tally: Tally, faults: Mapping[str, int], seconds: float) -> None:
        rejected = ", ".join(f"{code} {count:,}" for code, count in sorted(tally.rejected.items())) or "none"
        self._line(f"{tally.items:,} transactions in {seconds:.1f} s ({tally.items / seconds:,.0f} a second)")
        told = ", ".join(f"{code} {count:,}" for code, count in faults.items())
        self._line(f"faults: {told}; asked again, as is safe")
        self._line(f"rejected: {rejected}")
        for fate in (Fate.FAILED, Fate.ORPHAN):
            self._expect(not tally.fates[fate], f"no payment ends as {fate} ({tally.fates[fate]:,} did)")

    def _balance(self, balance: Balance, tally: Tally) -> None:
        kept = tally.fates[Fate.CREATED] + tally.fates[Fate.EXISTED]
        answered = tally.items - tally.unanswered
        rows = {
            "transactions": f"{kept:,} in the set, {tally.fates[Fate.REFUSED]:,} refused as double spends",
            "outputs": f"{balance.outputs:,}, of them {balance.spent:,} spent",
            "coins": f"{balance.mined / COIN:,.8f} mined, {balance.unspent / COIN:,.8f} unspent",
            "lost": f"{len(balance.lost) + len(balance.too_much):,}",
            "spent twice": f"{len(balance.spent_twice):,}",
            "answered": f"{answered:,} of {tally.items:,}, unanswered {tally.unanswered:,}",
        }
        for name, value in rows.items():
            self._line(f"{name:<14}{value}")
        for faults in (balance.lost, balance.too_much, balance.spent_twice):
            self.broken += faults[:5]
        self._expect(balance.mined == balance.unspent, "every coin that was mined is unspent somewhere, once")
        self._expect(tally.unanswered == 0, "every item is answered")

    @contextlib.asynccontextmanager
    async def _progress(self, total: int) -> AsyncIterator[Callable[[], None]]:
        """Drawn by the loop: a thread that can't write would hold what the lines are written with."""
        columns = TextColumn("  "), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
        with Progress(
            *columns, console=self._to, disable=not self._to.is_terminal, transient=True, auto_refresh=False
        ) as progress:
            task = progress.add_task("", total=total)

            async def draw() -> None:
                while True:
                    progress.refresh()
                    await asyncio.sleep(_DRAW_SECONDS)

            drawn = asyncio.create_task(draw())
            try:
                yield lambda: progress.advance(task)
            finally:
                drawn.cancel()

    def _expect(self, holds: bool, what: str) -> None:
        if not holds:
            self.broken.append(what)

    def _title(self, text: str) -> None:
        self._titles += 1
        self._to.print(f"\n[bold cyan]{self._titles}[/bold cyan]  [bold]{text}[/bold]", markup=True)

    def _line(self, text: str) -> None:
        self._to.print(f"   {text}", markup=True)


async def _kill_at_work(client: AsyncClient, pid: int) -> dict[str, Any]:
    """SIGKILL to the one worker that writes, once it has something in hand; to be called when something to write is
    under way, and before that got to run. The worker is stopped first, so that it keeps what it is given; the daemon
    ends such a worker by itself before long, and on a slow machine that may be before it is given anything.

    Returns the daemon's report, when the worker has a successor: what it had in hand is answered by then."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
        await _until(client, lambda report: report["pools"]["write"]["in_flight"] or _writer(report) != pid)
        os.kill(pid, signal.SIGKILL)
    await _until(client, lambda report: _writer(report) not in (None, pid) and report["pools"]["write"]["workers"])
    return await client.status()


async def _until(client: AsyncClient, look: Callable[[Mapping[str, Any]], Any]) -> Any:
    """What is seen in the daemon's reports, once anything is. Raises UtxodError if none comes for long."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            if seen := look(await client.status()):
                return seen
        except UtxodError:  # a machine may be that busy
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(_LOOK_SECONDS)


def _writer(report: Mapping[str, Any]) -> int | None:
    """The process id of the worker that writes; None while there is none."""
    return next((process["pid"] for process in report["processes"] if process["pool"] == "write"), None)


def _faults(report: Mapping[str, Any]) -> dict[str, int]:
    """By code, the items to which the daemon had to answer in place of a worker."""
    counters = sorted(report["counters"].items())
    return {name.removeprefix("failed "): count for name, count in counters if name.startswith("failed ")}


def _short(txid: bytes) -> str:
    text = txid[::-1].hex()
    return f"{text[:8]}...{text[-8:]}"
