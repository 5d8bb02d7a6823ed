"""Where an output is kept."""

from typing import NamedTuple

from store.layout import locate


class OutputPlace(NamedTuple):
    """record: the key of the record that the output lives in. offset: the output's place there."""

    txid: bytes
    vout: int
    record: bytes
    offset: int


def place_of(txid: bytes, vout: int, utxo_batch_size: int) -> OutputPlace:
    return OutputPlace(txid, vout, *locate(txid, vout, utxo_batch_size))
