"""Every operation has a pool, and the pools are such that none can wait for itself."""

from broker.scheduling import MAY_OWE, POOL_OF_FOLLOW_UP, POOL_OF_REQUEST, POOLS
from workers.runtime.operations import OPERATION_BY_NAME


def test_every_operation_has_its_pool() -> None:
    assert {*POOL_OF_REQUEST, *POOL_OF_FOLLOW_UP} == {*OPERATION_BY_NAME}  # what a worker can run
    assert {*POOL_OF_REQUEST.values(), *POOL_OF_FOLLOW_UP.values()} == POOLS.keys()


def test_follow_ups_go_to_a_pool_of_a_higher_rank_than_any_that_has_some() -> None:
    highest = max(kind.rank for kind in POOLS.values() if kind.has_follow_ups)
    assert all(POOLS[pool].rank > highest for pool in POOL_OF_FOLLOW_UP.values())


def test_what_may_owe_comes_from_a_pool_that_has_follow_ups_and_is_never_dispatched_again() -> None:
    kinds = [POOLS[POOL_OF_REQUEST[operation]] for operation in MAY_OWE]
    assert all(kind.has_follow_ups and not kind.repeatable for kind in kinds)
