"""What a rule costs the Aerospike server: its process's own CPU time, per call.

The server must run on this machine. What a read of one bin costs is shown beside it: that much is not the rule's.
Another implementation of the same rules can be measured beside ours, in the same rounds, on records that are alike.
"""

import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import psutil

from protocol.hashing import utxo_hash
from store import Mode, Remove, Status, Store, Write, open_store
from store.layout import CreationOptions, Partial, create_records
from store.rules import rules_source
from store.transaction import Output

from .direct import Apply, Direct
from .load import batched
from .report import Figure, Report

OUTPUTS: Final = (2, 20, 128)
A_BATCH: Final = 100
RETENTION: Final = 288
HEIGHT: Final = 1000
SATOSHIS: Final = 1000
# What a single spend of ours may cost of what one of the other implementation costs, by outputs of the record.
GOALS: Final = {2: 0.5, 20: 0.5, 128: 0.55}

_READ: Final = "a read of one bin, for comparison"
_AS_IT_SHOULD: Final = "every call did what it should"


def rules(store: str, beside: str | None, rounds: int, calls: int, server: int) -> Report:
    """store: URL of the set, which should be the measurement's own. beside: file of another implementation's module.
    calls: of each rule, in each round. server: process id; 0 finds it by the port."""
    report = Report("rules")
    process = psutil.Process(server or _server_at(store))
    direct = Direct(store)
    opened = open_store(store)
    try:
        modules = {"": direct.register(rules_source())}
        if beside:
            modules["the other's "] = direct.register(Path(beside).read_bytes())
        for outputs in OUTPUTS:
            _Measurement(report, opened, direct, process, modules).run(outputs, rounds, calls)
    finally:
        opened.close()
        direct.close()
    return report


class _Measurement:
    """modules: by whose they are, the names of the implementations."""

    def __init__(
        self, report: Report, store: Store, direct: Direct, process: psutil.Process, modules: dict[str, str]
    ) -> None:
        self._report = report
        self._store = store
        self._direct = direct
        self._process = process
        self._modules = modules

    def run(self, outputs: int, rounds: int, calls: int) -> None:
        costs: dict[str, list[float]] = {}
        for _ in range(rounds):
            for whose, module in self._modules.items():
                for name, cost in self._round(whose, module, outputs, calls).items():
                    costs.setdefault(name if name == _READ else whose + name, []).append(cost)
        for name, every in costs.items():
            self._report.figures.append(Figure(f"{name}, {outputs} outputs", every, "us of server CPU"))
        if len(self._modules) > 1:
            # Its node spends by spendMulti, also where it is one.
            self._compare("spend", "spend_multi", outputs, costs, GOALS[outputs])
            for name in _CALLS:
                self._compare(name, name, outputs, costs, None)

    def _compare(self, ours: str, theirs: str, outputs: int, costs: dict[str, list[float]], goal: float | None) -> None:
        parts = [
            ours_us / theirs_us for ours_us, theirs_us in zip(costs[ours], costs[f"the other's {theirs}"], strict=True)
        ]
        name = f"{ours}, {outputs} outputs"
        self._report.figures.append(Figure(name, parts, f"of the other's {theirs}", goal, higher_is_better=False))

    def _round(self, whose: str, module: str, outputs: int, calls: int) -> dict[str, float]:
        """By name, the microseconds of the server that one call took."""
        txids = [secrets.token_bytes(32) for _ in range(calls)]
        self._write([_master(txid, outputs) for txid in txids])
        costs = {_READ: self._cost(calls, lambda: self._read(txids))}
        for name, make in (_CALLS if whose else _CALLS | _OURS).items():
            made = [make(txid, outputs) for txid in txids]
            costs[name] = self._cost(calls, lambda made=made: self._apply(module, made))  # type: ignore[misc]
        self._write([Remove(txid) for txid in txids])
        return costs

    def _cost(self, calls: int, work: Callable[[], None]) -> float:
        before = _cpu_seconds(self._process)
        work()
        return (_cpu_seconds(self._process) - before) / calls * 1e6

    def _write(self, records: Sequence[Write | Remove]) -> None:
        for some in batched(records, A_BATCH):
            results = self._store.batch_operate(some, 30.0)
            self._report.promise(_AS_IT_SHOULD, all(result.status is Status.OK for result in results))

    def _read(self, txids: Sequence[bytes]) -> None:
        for some in batched(txids, A_BATCH):
            found = self._direct.get_many(some, ["totalUtxos"])
            self._report.promise(_AS_IT_SHOULD, all("totalUtxos" in bins for bins in found))

    def _apply(self, module: str, calls: Sequence[Apply]) -> None:
        for some in batched(calls, A_BATCH):
            results = self._direct.apply_many(module, some)
            # Ours says what it has applied.
            is_right = all(result["status"] == "OK" and result.get("applied", [0]) == [0] for result in results)
            self._report.promise(_AS_IT_SHOULD, is_right)


def _master(txid: bytes, outputs: int) -> Write:
    partial = Partial(txid, {vout: _output(txid) for vout in range(outputs)})
    creation = create_records(partial, CreationOptions(block_height=HEIGHT, now_ms=0))
    counted = creation.master | {"totalExtraRecs": 2, "inputs": [bytes(180)], "external": None}
    return Write(txid, counted, Mode.CREATE)


def _output(txid: bytes) -> Output:
    return Output(SATOSHIS, _script(txid))


def _script(txid: bytes) -> bytes:
    return b"\x76\xa9\x14" + txid[:20] + b"\x88\xac"


def _target(txid: bytes, outputs: int) -> tuple[int, bytes, bytes]:
    """The output that is spent: its offset and hash, and the spending data."""
    vout = outputs // 2
    return vout, utxo_hash(txid, vout, _script(txid), SATOSHIS), txid + bytes(4)


def _spend(txid: bytes, outputs: int) -> Apply:
    return txid, "spend", (*_target(txid, outputs), False, False, HEIGHT, RETENTION)


def _spend_multi(txid: bytes, outputs: int) -> Apply:
    vout = outputs // 2 - 1  # another than the one that is spent already
    hashed = utxo_hash(txid, vout, _script(txid), SATOSHIS)
    spend: dict[str, Any] = {"idx": 0, "offset": vout, "utxoHash": hashed, "spendingData": txid + bytes(4)}
    return txid, "spendMulti", ([spend], False, False, HEIGHT, RETENTION)


_CALLS: Final[dict[str, Callable[[bytes, int], Apply]]] = {
    "spend": _spend,
    "spend_multi": _spend_multi,
    "set_locked": lambda txid, _: (txid, "setLocked", (False, HEIGHT, RETENTION)),
    "increment": lambda txid, _: (txid, "incrementSpentExtraRecs", (1, HEIGHT, RETENTION)),
    "set_mined": lambda txid, _: (txid, "setMined", (7, HEIGHT, 3, HEIGHT, RETENTION, True, False)),
}
# Rules that no other implementation has: what a refused attempt gives back.
_OURS: Final[dict[str, Callable[[bytes, int], Apply]]] = {
    "release": lambda txid, outputs: (txid, "release", (*_target(txid, outputs), HEIGHT, RETENTION, 0)),
}


def _cpu_seconds(process: psutil.Process) -> float:
    """To the nanosecond, where the process's own times come in ticks."""
    tasks = Path(f"/proc/{process.pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def _server_at(store: str) -> int:
    port = urlsplit(store.replace(",", "/")).port or 3000
    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,) and connection.pid:
            return int(connection.pid)
    raise ValueError(f"no process of this machine listens on port {port}: give the server's process id")
