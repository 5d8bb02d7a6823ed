"""What an item says of a creation, besides the transaction."""

import time
from collections.abc import Sequence
from typing import Final

from protocol.item_flags import CREATE_CONFLICTING, CREATE_LOCKED
from protocol.mined_block import MinedBlock
from store.layout import CreationOptions
from workers.runtime.context import DispatchContext
from workers.runtime.item_shape import array_field, tuple_field, uint_field

_MAX_MINED: Final = 1024
_BLOCK: Final = tuple_field(
    "mined: a block",
    uint_field("mined: block id"),
    uint_field("mined: block height"),
    uint_field("mined: subtree index"),
)
MINED: Final = array_field("mined", _BLOCK, 0, _MAX_MINED)

# Height, mined blocks, flags.
Asked = tuple[int, Sequence[Sequence[int]], int]


class Options:
    """The creation options of the items of a dispatch, all of the same moment."""

    def __init__(self, context: DispatchContext) -> None:
        self._context = context
        self._now_ms = time.time_ns() // 1_000_000
        self._latest: tuple[Asked, CreationOptions] | None = None

    def of(self, asked: Asked) -> CreationOptions:
        if self._latest is None or self._latest[0] != asked:  # who asks together mostly asks the same
            self._latest = asked, self._make(*asked)
        return self._latest[1]

    def _make(self, height: int, mined: Sequence[Sequence[int]], flags: int) -> CreationOptions:
        store = self._context.store
        once = {block[0]: MinedBlock(*block) for block in reversed(mined)}  # listed twice, it would be unset once only
        return CreationOptions(
            block_height=height,
            now_ms=self._now_ms,
            utxo_batch_size=store.utxo_batch_size,
            genesis_height=store.genesis_height,
            retention=self._context.retention,
            mined=list(reversed(once.values())),
            conflicting=bool(flags & CREATE_CONFLICTING),
            locked=bool(flags & CREATE_LOCKED),
        )
