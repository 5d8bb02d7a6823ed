"""The active chain among blocks that lie in any order: the one with the most work, as a node would have it.

Where blocks are missing, the others fall apart into parts, each a tree. Of a part, the branch with the most accumulated
work (by nBits) counts, and of equal ones that whose tip was found first. A part beside that with the most work is of
the same chain where its heights are known and are none of the others'.

A height is one more than the parent's. That of a part's first block is what its coinbase states (BIP 34), or else
follows from what a block upon it states. A block that contradicts its parent's height is refused, and all upon it.
Not checked: that the targets are those the network asked for, timestamps, scripts, signatures, subsidies.
"""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from .blockfiles import BlockPlace

NO_HASH: Final = bytes(32)
# Below difficulty 1, the target of the main chain's first block, there are test networks only. Miners of the main chain
# wrote what they liked until BIP 34 was in force; a test network demands heights sooner, or never.
_DIFFICULTY_1: Final = 0xFFFF << 208
_BIP34_HEIGHT: Final = 227_931


@dataclass(slots=True)
class Chain:
    """blocks: the active chain with its heights, parents first. stale: off it, on another branch. unconnected: in
    words, those that no chain leads to. contradicting: by hash, in words, those whose height contradicts their
    parent's. on_bad: how many stand on a block that is refused."""

    blocks: list[tuple[BlockPlace, int]] = field(default_factory=list)
    stale: list[BlockPlace] = field(default_factory=list)
    unconnected: list[str] = field(default_factory=list)
    contradicting: dict[bytes, str] = field(default_factory=dict)
    on_bad: int = 0


def active_chain(
    blocks: Mapping[bytes, BlockPlace], first_height: int | None = None, bad: Container[bytes] = frozenset()
) -> Chain:
    """blocks: by hash, in the order in which they were found. first_height: of the first block of each part whose
    coinbase does not state it. bad: hashes of blocks that are not to be built upon."""
    chain = Chain()
    position = {hash_: index for index, hash_ in enumerate(blocks)}
    children: dict[bytes, list[BlockPlace]] = {}
    roots: list[BlockPlace] = []
    for place in blocks.values():
        if place.previous in blocks:
            children.setdefault(place.previous, []).append(place)
        else:
            roots.append(place)
    parts = [_Part(root, children, first_height, bad, chain) for root in roots]
    taken: list[range] = []
    for part in sorted(parts, key=lambda part: (-part.work, position[part.root.hash])):
        branch = part.best_branch(position)
        heights = range(part.height, part.height + len(branch))
        if not branch:
            continue
        if taken and not (part.height_is_known and all(_apart(heights, others) for others in taken)):
            why = (
                "of the same heights"
                if part.height_is_known
                else "and its height is not known: feed it by itself, with --height"
            )
            chain.unconnected.append(
                f"{part.root}: does not connect with the chain that has more work, {why}"
                + (f" ({len(part.total_work) - 1} blocks stand on it)" if len(part.total_work) > 1 else "")
            )
            continue
        taken.append(heights)
        chain.blocks += zip(branch, heights, strict=True)
        active = {place.hash for place in branch}
        chain.stale += [blocks[hash_] for hash_ in part.total_work if hash_ not in active]
    chain.blocks.sort(key=lambda block: block[1])
    return chain


class _Part:
    """A tree of blocks. height: of its root. total_work: by hash, of each block that is good, from the root on."""

    def __init__(
        self,
        root: BlockPlace,
        children: Mapping[bytes, list[BlockPlace]],
        first_height: int | None,
        bad: Container[bytes],
        chain: Chain,
    ) -> None:
        self.root = root
        known = _root_height(root, children) if first_height is None or root.stated_height is not None else first_height
        self.height_is_known = known is not None
        self.height = known or 0
        self.total_work: dict[bytes, int] = {}
        self._places: dict[bytes, BlockPlace] = {}
        for place, height in _descend(root, children, self.height):
            below = self.total_work.get(place.previous, None if place is not root else 0)
            if below is None:
                chain.on_bad += 1
            elif place.hash in bad:
                pass
            elif place is not root and _contradicts(place, height):
                chain.contradicting[place.hash] = (
                    f"{place}: its coinbase states height {place.stated_height}, and its parent's is {height - 1}"
                )
            else:
                self.total_work[place.hash] = below + place.work
                self._places[place.hash] = place

    @property
    def work(self) -> int:
        return max(self.total_work.values(), default=0)

    def best_branch(self, position: Mapping[bytes, int]) -> list[BlockPlace]:
        """From the root to the tip with the most work."""
        tip = min(self.total_work, key=lambda hash_: (-self.total_work[hash_], position[hash_]), default=None)
        branch: list[BlockPlace] = []
        while tip in self._places:
            branch.append(self._places[tip])
            tip = branch[-1].previous
        return branch[::-1]


def _descend(
    root: BlockPlace, children: Mapping[bytes, list[BlockPlace]], height: int
) -> Iterable[tuple[BlockPlace, int]]:
    """Every block of the tree with its height, level by level."""
    level = [root]
    while level:
        yield from ((place, height) for place in level)
        level = [child for place in level for child in children.get(place.hash, ())]
        height += 1


def _root_height(root: BlockPlace, children: Mapping[bytes, list[BlockPlace]]) -> int | None:
    """What the blocks of the tree tell of the height of its root; None where that is nothing."""
    if root.stated_height is None and root.previous == NO_HASH:
        return 0
    for place, depth in _descend(root, children, 0):
        if place.stated_height is not None and place.stated_height >= depth:
            return place.stated_height - depth
    return None


def _contradicts(place: BlockPlace, height: int) -> bool:
    if place.stated_height in (None, height):
        return False
    return height >= _BIP34_HEIGHT or place.target > _DIFFICULTY_1


def _apart(one: range, other: range) -> bool:
    return one.stop <= other.start or other.stop <= one.start
