"""Holds the answers of a run of accepts against each other, and against its set."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from protocol import Accepted, Outcome, codes
from store import Read, Status, Store
from store.layout import UTXO_BYTES, pack_spending_data, record_key
from store.transaction import Transaction
from tests.chaos.checker import Findings
from tests.rivals.knots import UTXO_BATCH_SIZE, Ask, Knot, Knots

TWO: Final = "two have a coin"
GHOST: Final = "ghost"
WRONG: Final = "wrong answer"
UNSETTLED: Final = "unsettled"
TORN: Final = "torn"
PROMISES: Final = {
    TWO: "each coin has one winner at most",
    GHOST: "no spend stands without its transaction, and no transaction without its spends",
    WRONG: "every answer was true",
    UNSETTLED: "each `unknown` was resolved by asking again",
    TORN: "all that is there is there whole",
}
_FAULTS: Final = frozenset(
    {
        codes.OVERLOADED, codes.UNAVAILABLE, codes.DEADLINE_EXCEEDED, codes.WORKER_CRASHED, codes.STORE_ERROR,
        codes.NO_ANSWER, codes.STALE, codes.CREATING,
    }
)  # fmt: skip
_READ_SECONDS: Final = 30.0

Outpoint = tuple[bytes, int]


class Asked(NamedTuple):
    """began, ended: seconds, monotonic. quiet: nothing else of its knot was under way, and nothing broken."""

    ask: Ask
    began: float
    ended: float
    outcome: Outcome[Any]
    quiet: bool

    @property
    def is_settled(self) -> bool:
        return self.outcome.ok or self.outcome.code not in _FAULTS

    def __str__(self) -> str:
        error = self.outcome.error
        details = f" {error.executed} {dict(error.details)}" if error else ""
        return f"{self.ask} {self.began:.3f}-{self.ended:.3f}: {self.outcome.code}{details}"


def check(knots: Knots, asked: Sequence[Asked], store: Store) -> Findings:
    findings = Findings()
    by_knot: dict[int, list[Asked]] = defaultdict(list)
    for each in asked:
        by_knot[each.ask.knot].append(each)
        answer = each.outcome.code if each.outcome.ok or each.outcome.code in codes.REJECTIONS else "faults"
        findings.counts[f"answered {answer}"] += 1
    for number, told in by_knot.items():
        _Checker(knots.knot(number), told, store, findings).check()
    return findings


class _Checker:
    """Of one knot. _there: by txid the spending data of each output, of the transactions that are in the set."""

    def __init__(self, knot: Knot, told: Sequence[Asked], store: Store, findings: Findings) -> None:
        self._knot = knot
        self._told = told
        self._store = store
        self._findings = findings
        self._there: dict[bytes, list[bytes]] = {}

    def check(self) -> None:
        for transaction in (self._knot.funding, *self._knot.transactions):
            self._read(transaction)
        for asked in self._told:
            problem = self._problem(asked)
            if problem:
                self._complain(WRONG, f"{asked}: {problem}")
        for place, transaction in enumerate(self._knot.transactions):
            self._check_transaction(transaction, [asked for asked in self._told if asked.ask.place == place])
        self._check_coins()

    def _complain(self, kind: str, what: str) -> None:
        told = "".join(f"\n    {asked}" for asked in self._told)
        self._findings.complain(kind, f"knot {self._knot.number}: {what}{told}", [])

    # ---- answers

    def _problem(self, asked: Asked) -> str:
        transaction, outcome = self._knot.transactions[asked.ask.place], asked.outcome
        if outcome.error is None:
            return _wrong_result(transaction, outcome.result)
        code, error = outcome.code, outcome.error
        if code in _FAULTS:
            return ""
        if error.executed != codes.NO:
            return f"{code}, and {error.executed}"
        outpoints = [_outpoint(spent) for spent in transaction.inputs]
        refused = tuple(error.details.get("outpoint", ()))
        if refused not in outpoints or outpoints.index(refused) != error.details.get("vin"):
            return "the input that it names has not that output"
        if code == codes.TX_NOT_FOUND:
            parent = self._knot.place(refused[0])
            is_known = parent is None or self._acknowledged(refused[0], asked.began)
            return "the parent that is missed is there" if is_known else ""
        if code != codes.SPENT:
            return f"{code} is no answer to this"
        return self._wrong_spender(transaction, refused, error.details, asked)

    def _wrong_spender(self, own: Transaction, coin: Outpoint, details: Mapping[str, Any], asked: Asked) -> str:
        spender, vin = bytes(details["spending_txid"]), details["spending_vin"]
        place = self._knot.place(spender)
        if place is None or spender == own.txid:
            return "it is spent by nobody else"
        inputs = self._knot.transactions[place].inputs
        if vin >= len(inputs) or _outpoint(inputs[vin]) != coin:
            return "whom it names does not want that output"
        if not any(other.ask.place == place and other.began < asked.ended for other in self._told):
            return "whom it names had not asked for it"
        for other in self._knot.transactions:
            wants_it = other.txid != spender and coin in map(_outpoint, other.inputs)
            if wants_it and self._acknowledged(other.txid, asked.began):
                return "another one was told that it has it"
        return ""

    def _acknowledged(self, txid: bytes, before: float) -> bool:
        place = self._knot.place(txid)
        return any(asked.ask.place == place and asked.outcome.ok and asked.ended < before for asked in self._told)

    # ---- and the set

    def _read(self, transaction: Transaction) -> None:
        count = len(transaction.outputs)
        keys = [record_key(transaction.txid, index) for index in range(-(-count // UTXO_BATCH_SIZE))]
        results = self._store.batch_operate([Read(key) for key in keys], _READ_SECONDS)
        found = [result.value for result in results if result.status is Status.OK]
        if not found:
            return
        utxos = [utxo for bins in found for utxo in bins["utxos"]]
        if len(found) < len(keys) or len(utxos) != count or any(bins.get("creating") for bins in found):
            self._complain(TORN, f"{transaction.txid.hex()}: {found}")
        for bins in found:
            if bins["spentUtxos"] != sum(len(utxo) > UTXO_BYTES for utxo in bins["utxos"]):
                self._complain(TORN, f"{transaction.txid.hex()}: counter {dict(bins)}")
        self._there[transaction.txid] = [utxo[UTXO_BYTES:] for utxo in utxos]

    def _check_transaction(self, transaction: Transaction, told: Sequence[Asked]) -> None:
        if not told:
            return
        last = told[-1]
        if not (last.quiet and last.is_settled):
            self._complain(UNSETTLED, str(last))
            return
        is_there = transaction.txid in self._there
        self._findings.counts["transactions in the set"] += is_there
        if last.outcome.ok is not is_there:
            self._complain(WRONG, f"{last}: it is {'there' if is_there else 'not there'}")
        if any(asked.outcome.ok for asked in told) and not is_there:
            self._complain(WRONG, f"{transaction.txid.hex()} was accepted, and is not there")
        created = sum(asked.outcome.ok and asked.outcome.result.created for asked in told)
        in_doubt = any(asked.outcome.error and asked.outcome.error.executed == codes.UNKNOWN for asked in told)
        if created > 1 or (is_there and not created and not in_doubt):
            self._complain(WRONG, f"{transaction.txid.hex()} was created {created} times, as its callers were told")
        error = last.outcome.error
        named = {tuple(outpoint) for outpoint in error.details.get("held", ())} if error else set()
        for vin, spent in enumerate(transaction.inputs):
            coin = _outpoint(spent)
            if coin[0] not in self._there:
                continue
            has_it = self._there[coin[0]][coin[1]] == pack_spending_data(transaction.txid, vin)
            if not is_there and has_it and coin in named:
                self._findings.counts["held at the end, as named"] += 1
            elif has_it is not is_there:
                self._complain(GHOST, f"{transaction.txid.hex()} {'has' if has_it else 'has not'} its input {vin}")

    def _check_coins(self) -> None:
        known = {transaction.txid for transaction in self._knot.transactions}
        for txid, spendings in self._there.items():
            for vout, data in enumerate(spendings):
                self._findings.counts["coins spent"] += bool(data)
                if data and data[:32] not in known:
                    self._complain(GHOST, f"{txid.hex()}:{vout} is spent by one that never asked for it")
        spenders: dict[Outpoint, bytes] = {}
        for transaction in self._knot.transactions:
            for coin in map(_outpoint, transaction.inputs) if transaction.txid in self._there else ():
                if spenders.setdefault(coin, transaction.txid) != transaction.txid:
                    self._complain(TWO, f"{coin[0].hex()}:{coin[1]}")


def _outpoint(spent: Any) -> Outpoint:
    return spent.previous_txid, spent.previous_vout


def _wrong_result(transaction: Transaction, accepted: Accepted) -> str:
    count = len(transaction.outputs)
    right = {
        "txID": transaction.txid, "isCoinbase": False, "sizeInBytes": transaction.size, "totalUtxos": count,
        "records": -(-count // UTXO_BATCH_SIZE), "fee": 0,
    }  # fmt: skip
    if accepted.conflicting or dict(accepted.metadata) != right:
        return f"{accepted}, not {right}"
    return ""
