"""A question of a chaos run, as a call of the client and back as an answer for the history."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from protocol import Outcome, UtxodError
from tests.chaos.history import YES, Answer, Item
from tests.chaos.parents import Parents


class Question(NamedTuple):
    """operation, items: as in the history. timeout: seconds. flags: of spends."""

    operation: str
    items: Sequence[Item]
    timeout: float
    flags: int = 0


_METHODS = {
    "create": "create_many",
    "spend": "spend_many",
    "transaction": "spend_transaction",
    "unspend": "unspend_many",
    "get": "get_many",
    "outpoint": "outpoint_many",
    "set_locked": "set_locked_many",
    "increment": "increment_many",
}


def start(client: Any, parents: Parents, question: Question) -> Any:
    """Calls the client's method: its result, or for asyncio what is to be awaited. One item goes by the method for one,
    where there is one that takes an item."""
    operation, items, timeout, _ = question
    arguments: list[Any] = [_argument(parents, question, item) for item in items]
    if len(items) == 1 and operation in ("spend", "unspend"):
        return getattr(client, operation)(arguments[0], timeout=timeout)
    if len(items) == 1 and operation == "get":
        return client.get(arguments[0], ["txID"], timeout=timeout)
    if len(items) == 1 and operation in ("outpoint", "set_locked"):
        return getattr(client, operation)(*arguments[0], timeout=timeout)
    method = getattr(client, _METHODS[operation])
    return method(arguments, ["txID"], timeout=timeout) if operation == "get" else method(arguments, timeout=timeout)


def _argument(parents: Parents, question: Question, item: Item) -> Any:
    operation = question.operation
    parent = parents.parent(item[0])
    if operation == "create":
        return parent.create_item()
    if operation in ("spend", "transaction", "unspend"):
        _, vout, spender, vin, early = item
        return parent.spend(vout, bytes.fromhex(spender), vin, question.flags, early)
    if operation == "increment":
        return (parent.txid, item[1], parent.height)
    return parent.txid if operation == "get" else (parent.txid, item[1])


def answers_of(parents: Parents, question: Question, given: Any) -> list[Answer]:
    """given: what the client returned, or raised."""
    numbers = {parents.parent(item[0]).txid: item[0] for item in question.items}
    if isinstance(given, UtxodError):
        request, _, _ = given.request_id.partition("/")
        told = _refusal(given, numbers)  # of all, where they are one transaction's
        return [told._replace(request_id=request and f"{request}/{index}") for index in range(len(question.items))]
    if isinstance(given, BaseException):
        return [Answer("EXCEPTION", "unknown", repr(given))] * len(question.items)
    results = given if isinstance(given, list) else [given]
    if len(results) != len(question.items):
        return [Answer("EXCEPTION", "unknown", f"{len(results)} results")] * len(question.items)
    return [_answer(question.operation, result, numbers) for result in results]


def _answer(operation: str, result: Any, numbers: Mapping[bytes, int]) -> Answer:
    if isinstance(result, Outcome):
        if result.error is not None:
            return _refusal(result.error, numbers)
        result = result.result
    if operation == "get":
        result = result["txID"].hex()
    elif operation == "outpoint":
        result = [result.satoshis, result.locking_script.hex()]
    elif operation == "create":
        result = result["records"]
    elif operation == "increment":
        result = result.child_count
    return Answer("OK", YES, result)


def _refusal(error: UtxodError, numbers: Mapping[bytes, int]) -> Answer:
    """numbers: of the parents that were asked about, by txid."""
    details = error.details
    spender = details.get("spending_txid")
    listed = *details.get("held", ()), *details.get("outpoints", ())
    held = [(numbers.get(txid, -1), vout) for txid, vout in listed]
    return Answer(error.code, error.executed, spender.hex() if spender else error.message, held, error.request_id)
