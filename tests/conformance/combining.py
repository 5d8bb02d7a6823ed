"""Choices, one out of each of several pools; a pool's first value is the usual one."""

from collections.abc import Iterator, Sequence
from itertools import combinations, product
from random import Random
from typing import TypeVar

T = TypeVar("T")


def paired(pools: Sequence[Sequence[T]]) -> Iterator[tuple[T, ...]]:
    """Every value of each pool, and every two of two pools, where all others have the usual one."""
    usual = [pool[0] for pool in pools]
    yield tuple(usual)
    for at, pool in enumerate(pools):
        for value in pool[1:]:
            yield (*usual[:at], value, *usual[at + 1 :])
    for one, other in combinations(range(len(pools)), 2):
        for first, second in product(pools[one][1:], pools[other][1:]):
            yield (*usual[:one], first, *usual[one + 1 : other], second, *usual[other + 1 :])


def drawn(pools: Sequence[Sequence[T]], random: Random, usual: float) -> list[T]:
    """usual: the probability of that value."""
    return [pool[0] if random.random() < usual else random.choice(pool) for pool in pools]
