"""outpoint: what an output is worth and who may spend it, spent or not.

Item [txid, vout]; result [satoshis, locking script], checked as outputs/finding.py says.
"""

from typing import Final

from protocol.wire import Error
from workers.runtime.context import DispatchContext
from workers.runtime.item_shape import Shape, txid_field, uint_field
from workers.runtime.outputs.finding import find_outputs

SHAPE: Final = Shape(txid_field(), uint_field("vout"))


def run(context: DispatchContext) -> None:
    batch = context.batch
    batch.fail_bad_items()
    outpoints = [(index, (txid, vout)) for index, (txid, vout) in batch.good_items()]
    outputs = find_outputs(context, [outpoint for _, outpoint in outpoints])
    for index, outpoint in outpoints:
        found = outputs[outpoint]
        if isinstance(found, Error):
            batch.fail(index, found)
        else:
            batch.complete(index, [found.output.satoshis, found.output.locking_script])
