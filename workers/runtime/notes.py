"""Notes: what masters are to be told of their children's states. They are collected during the dispatch; when it ends,
one follow-up per master is owed."""

from .batch import Batch


class Notes:
    """Of one dispatch: by master, the newest state of each child that it is to be told of."""

    def __init__(self) -> None:
        self._heights: dict[bytes, int] = {}  # by master, of the newest block
        self._seqs: dict[bytes, dict[int, int]] = {}  # by master and child, the newest stateSeq

    def add(self, txid: bytes, child: int, state_seq: int, height: int) -> None:
        """The child's state has changed, or was found changed already. height: of the block that the rule was called
        for."""
        seqs = self._seqs.setdefault(txid, {})
        seqs[child] = max(state_seq, seqs.get(child, 0))
        self._heights[txid] = max(height, self._heights.get(txid, 0))

    def owe(self, batch: Batch) -> None:
        """Adds them to the batch as follow-ups that nobody waits for."""
        for txid, seqs in self._seqs.items():
            notes = [[child, seq] for child, seq in sorted(seqs.items())]
            batch.add_owed_follow_up("note_child", txid, 1, [txid, notes, self._heights[txid]])
