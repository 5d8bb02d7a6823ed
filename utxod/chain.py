"""The active chain among blocks that lie in any order: the one with the most work, as a node would have it.

Where blocks are missing, the others fall apart into separate trees. Of a tree, the branch with the most accumulated
work (by nBits) counts, and of equal ones that whose tip was found first. A tree beside that with the most work is of
the same chain if its heights are known and no other tree has them.

A height is one more than the parent's. That of a tree's first block is what most blocks of its branch with the most
work say it is, each by the height that its coinbase states (BIP 34); of as many votes, those nearest to the first block
win. A block of the branch that contradicts its height is refused, and all upon it. What lies on other branches is not
looked at. Not checked: that the targets are those the network asked for, timestamps, scripts, signatures, subsidies.
"""

from bisect import bisect, insort
from collections import Counter
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from heapq import heapify, heappop
from typing import Final

from .block_files import BlockPlace
from .plurals import many

NO_HASH: Final = bytes(32)
# Below difficulty 1, the target of the main chain's first block, there are test networks only. Miners of the main chain
# wrote what they liked until BIP 34 was in force; a test network demands heights sooner, or never.
_DIFFICULTY_1: Final = 0xFFFF << 208
_BIP34_HEIGHT: Final = 227_931

# The block as it is to be fed (another copy of it, perhaps); None where it is bad.
Checked = Callable[[BlockPlace], BlockPlace | None]


@dataclass(slots=True)
class Chain:
    """blocks: the active chain with its heights, parents first. stale: how many are off it, on another branch.
    unconnected: in words, those that no chain leads to. contradicting: in words, those whose height contradicts their
    parent's. on_bad: how many stand on a block that is refused."""

    blocks: list[tuple[BlockPlace, int]] = field(default_factory=list)
    stale: int = 0
    unconnected: list[str] = field(default_factory=list)
    contradicting: list[str] = field(default_factory=list)
    on_bad: int = 0


def active_chain(
    blocks: Mapping[bytes, BlockPlace],
    first_height: int | None = None,
    checked: Checked = lambda place: place,
) -> Chain:
    """blocks: by hash, in the order in which they were found. first_height: of the first block of each tree whose
    coinbase does not state it. checked: asked of each block before one is built upon it, and of no other."""
    chain = Chain()
    children: dict[bytes, list[BlockPlace]] = {}
    roots: list[BlockPlace] = []
    for place in blocks.values():
        if place.previous in blocks:
            children.setdefault(place.previous, []).append(place)
        else:
            roots.append(place)
    position = {hash_: index for index, hash_ in enumerate(blocks)}
    trees = [_BlockTree(root, children, position) for root in roots]
    for tree in trees:
        tree.settle(first_height, checked, chain)
    taken: list[range] = []  # by their first heights
    for tree in sorted(trees, key=lambda tree: -tree.work):
        branch = tree.best_branch()
        if not branch:
            continue
        heights = range(tree.height or 0, (tree.height or 0) + len(branch))
        if taken and (tree.height is None or not _is_free(heights, taken)):
            chain.unconnected.append(_unconnected(tree))
            continue
        insort(taken, heights, key=_first)
        chain.blocks += zip(branch, heights, strict=True)
        chain.stale += tree.size - len(branch)
    chain.blocks.sort(key=lambda block: block[1])
    return chain


@dataclass(slots=True)
class _Node:
    """depth: 0 of the root. work: of the block and all below it."""

    place: BlockPlace
    depth: int
    work: int


class _BlockTree:
    """A tree of blocks, less those that were refused, and all upon them. height: of its root, None where nobody knows.
    Every block is taken out once, and looked at a few times, however many branches there are."""

    def __init__(
        self, root: BlockPlace, children: Mapping[bytes, list[BlockPlace]], position: Mapping[bytes, int]
    ) -> None:
        self.root = root
        self.height: int | None = None
        self._children = children
        self._nodes: dict[bytes, _Node] = {}
        level = [_Node(root, 0, root.work)]
        for node in level:  # which grows meanwhile
            self._nodes[node.place.hash] = node
            level += [
                _Node(place, node.depth + 1, node.work + place.work) for place in children.get(node.place.hash, ())
            ]
        self._tips = [(-node.work, position[hash_], hash_) for hash_, node in self._nodes.items()]
        heapify(self._tips)

    @property
    def size(self) -> int:
        return len(self._nodes)

    @property
    def work(self) -> int:
        """Of the branch with the most."""
        return -self._tips[0][0] if self._tips else 0

    def settle(self, first_height: int | None, checked: Checked, chain: Chain) -> None:
        """Leaves a branch of good blocks, whose heights do not contradict one another, as that with the most work."""

        def is_good(node: _Node) -> bool:
            copy = checked(node.place)
            node.place = copy or node.place
            return copy is not None

        def agrees(node: _Node) -> bool:
            if not is_good(node):
                return False
            if fault := self._contradiction(node):
                chain.contradicting.append(fault)
            return not fault

        chain.on_bad += self._prune(is_good)
        self.height = self._root_height(first_height)
        chain.on_bad += self._prune(agrees)

    def best_branch(self) -> list[BlockPlace]:
        """From the root to the tip with the most work."""
        return [node.place for node in self._branch(frozenset())]

    def _branch(self, above: Container[bytes]) -> list[_Node]:
        """That with the most work, but for those blocks of it that are among `above`, and all below."""
        branch: list[_Node] = []
        at = self._tips[0][2] if self._tips else b""
        while at in self._nodes and at not in above:
            branch.append(self._nodes[at])
            at = branch[-1].place.previous
        return branch[::-1]

    def _prune(self, holds: Callable[[_Node], bool]) -> int:
        """Refuses blocks until all of the best branch hold. Returns how many others went with them."""
        others = 0
        held: set[bytes] = set()
        while branch := self._branch(above=held):
            for node in branch:
                if not holds(node):
                    others += self._refuse(node.place) - 1
                    break
                held.add(node.place.hash)
        return others

    def _refuse(self, place: BlockPlace) -> int:
        """Returns how many blocks are gone: it, and all upon it."""
        gone = [place]
        for block in gone:  # which grows meanwhile
            del self._nodes[block.hash]
            gone += (child for child in self._children.get(block.hash, ()) if child.hash in self._nodes)
        while self._tips and self._tips[0][2] not in self._nodes:
            heappop(self._tips)
        return len(gone)

    def _root_height(self, first_height: int | None) -> int | None:
        branch = self.best_branch()
        if branch and branch[0].stated_height is None:
            if first_height is not None:
                return first_height
            if self.root.previous == NO_HASH:
                return 0
        votes = Counter(
            place.stated_height - depth
            for depth, place in enumerate(branch)
            if place.stated_height is not None and place.stated_height >= depth
        )
        return votes.most_common(1)[0][0] if votes else None

    def _contradiction(self, node: _Node) -> str:
        """In words, where the block states another height than it has; empty where it does not."""
        stated = node.place.stated_height
        if self.height is None or stated is None:
            return ""
        height = self.height + node.depth
        if stated == height or (height < _BIP34_HEIGHT and node.place.target <= _DIFFICULTY_1):
            return ""
        has = f"its parent's is {height - 1}" if node.depth else f"most blocks upon it say that it is {height}"
        return f"{node.place}: its coinbase states height {stated}, and {has}"


def _unconnected(tree: _BlockTree) -> str:
    why = "of the same heights" if tree.height is not None else _UNKNOWN
    upon = f" (with {many(tree.size - 1, 'block')} upon it)" if tree.size > 1 else ""
    return f"{tree.root}: does not connect with the chain that has more work, {why}{upon}"


_UNKNOWN: Final = "and its height is not known: feed it by itself, with --height"


def _is_free(heights: range, taken: list[range]) -> bool:
    """Whether none of these heights is taken; taken: ascending, none of them overlap."""
    at = bisect(taken, heights.start, key=_first)
    return (at == 0 or taken[at - 1].stop <= heights.start) and (at == len(taken) or heights.stop <= taken[at].start)


def _first(heights: range) -> int:
    return heights.start
