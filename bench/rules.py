"""What a rule costs the Aerospike server: its process's own CPU time, per call.

The server must run on this machine. What a read of one bin costs is shown beside it: that much is not the rule's.
"""

import secrets
from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import urlsplit

import psutil

from store import Call, Mode, Read, Record, Remove, Status, Store, Write, open_store
from store.layout import Circumstances, Partial, create_records, utxo_hash
from store.transaction import Output

from .report import Figure, Report

OUTPUTS: Final = (2, 20, 128)
A_BATCH: Final = 100
RETENTION: Final = 288
HEIGHT: Final = 1000

# Microseconds per spend that a widely used implementation of the same rule takes on such a record, and the part of it
# that ours may take.
WIDELY_USED: Final = {2: 34.0, 128: 72.0}
GOALS: Final = {2: 0.5 * WIDELY_USED[2], 128: 0.55 * WIDELY_USED[128]}


def rules(store: str, rounds: int, calls: int, server: int) -> Report:
    """store: URL of the set, which should be the measurement's own. calls: of each rule, in each round. server: process
    id; 0 finds it by the port."""
    report = Report("rules")
    process = psutil.Process(server or _server_at(store))
    opened = open_store(store)
    try:
        for outputs in OUTPUTS:
            _measure(report, opened, process, outputs, rounds, calls)
    finally:
        opened.close()
    return report


def _measure(report: Report, store: Store, process: psutil.Process, outputs: int, rounds: int, calls: int) -> None:
    spent: list[list[float]] = [[] for _ in _CALLS]
    for _ in range(rounds):
        txids = [secrets.token_bytes(32) for _ in range(calls)]
        creation = [_master(txid, outputs) for txid in txids]
        _run(report, store, creation)
        for cost, (_, make) in zip(spent, _CALLS, strict=True):
            records = [make(txid, outputs) for txid in txids]
            before = _cpu_seconds(process)
            _run(report, store, records)
            cost.append((_cpu_seconds(process) - before) / calls * 1e6)
        _run(report, store, [Remove(txid) for txid in txids])
    for cost, (name, _) in zip(spent, _CALLS, strict=True):
        goal = GOALS.get(outputs) if name == "spend" else None
        report.figures.append(
            Figure(f"{name}, {outputs} outputs", cost, "us of server CPU", goal, higher_is_better=False)
        )


def _run(report: Report, store: Store, records: Sequence[Record]) -> None:
    for start in range(0, len(records), A_BATCH):
        for result in store.batch_operate(records[start : start + A_BATCH], 30.0):
            is_right = result.status is Status.OK
            if is_right and isinstance(result.value, dict) and "status" in result.value:
                is_right = result.value["status"] == "OK"
            report.promise("every call did what it should", is_right)


def _master(txid: bytes, outputs: int) -> Write:
    script = b"\x76\xa9\x14" + txid[:20] + b"\x88\xac"
    partial = Partial(txid, {vout: Output(1000, script) for vout in range(outputs)})
    creation = create_records(partial, Circumstances(block_height=HEIGHT, now_ms=0))
    counted = creation.master | {"totalExtraRecs": 2, "inputs": [bytes(180)], "external": None}
    return Write(txid, counted, Mode.CREATE)


def _spend(txid: bytes, outputs: int) -> Call:
    vout = outputs // 2
    hashed = utxo_hash(txid, vout, Output(1000, b"\x76\xa9\x14" + txid[:20] + b"\x88\xac"))
    spend = {"idx": 0, "offset": vout, "utxoHash": hashed, "spendingData": txid + bytes(4)}
    return Call(txid, "spendMulti", ([spend], False, False, HEIGHT, RETENTION))


_CALLS: Final[Sequence[tuple[str, Callable[[bytes, int], Record]]]] = (
    ("a read of one bin, for comparison", lambda txid, _: Read(txid, ("fee",))),
    ("spend", _spend),
    ("set_locked", lambda txid, _: Call(txid, "setLocked", (False,))),
    ("increment", lambda txid, _: Call(txid, "incrementSpentExtraRecs", (1, HEIGHT, RETENTION))),
    ("set_mined", lambda txid, _: Call(txid, "setMined", (7, HEIGHT, 3, HEIGHT, RETENTION, True, False))),
)


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _server_at(store: str) -> int:
    port = urlsplit(store.replace(",", "/")).port or 3000
    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,) and connection.pid:
            return int(connection.pid)
    raise ValueError(f"no process of this machine listens on port {port}: give the server's process id")
