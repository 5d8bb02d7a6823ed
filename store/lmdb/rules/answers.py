"""What a rule answers: `status` OK or ERROR, and the other words of store/rules/utxo.lua."""

from typing import Any

from store.lmdb.record import Record

Answer = dict[str, Any]


def describe(code: str, message: str, spender: str | None = None) -> Answer:
    """What is wrong. spender: hexadecimal spending data."""
    if spender is None:
        return {"errorCode": code, "message": message}
    return {"errorCode": code, "message": message, "spendingData": spender}


def refuse(code: str, message: str, spender: str | None = None) -> Answer:
    return {"status": "ERROR", **describe(code, message, spender)}


def refuse_parameter(message: str) -> Answer:
    return refuse("INVALID_PARAMETER", message)


def refuse_missing() -> Answer:
    return refuse("TX_NOT_FOUND", "no such transaction")


def add_signal(answer: Answer, record: Record, signal: str | None) -> Answer:
    """Adds what a caller needs to act on the signal, if there is one."""
    if signal is not None:
        answer["signal"] = signal
        if record.bins.external:
            answer["childCount"] = record.bins.totalExtraRecs or 0
    return answer
