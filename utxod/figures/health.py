"""Whether the daemon is alive, and whether it is ready: for who restarts it, and for who sends clients to it."""

from typing import NamedTuple

from .asking import Asked


class Health(NamedTuple):
    """why: a line for people."""

    is_well: bool
    why: str


def is_alive(asked: Asked) -> Health:
    """Alive is who answers: the daemon has one loop, and where that stands still nothing is answered."""
    if asked.report is None:
        return Health(False, f"the daemon does not answer: {asked.why}")
    standstill = asked.report["longest_standstill_seconds"]
    return Health(True, f"alive: the daemon answers; its loop never stood still for longer than {standstill} s")


def is_ready(asked: Asked) -> Health:
    """Ready is who takes requests and has somebody to execute each. Not ready while it drains, or a pool has no worker:
    clients are better off elsewhere.

    An open circuit breaker makes nobody unready. It is a request, the probe, that finds out that the store answers
    again; where none was sent it would stay open for ever. And daemons on one store that fails would all be taken out
    at once, where each refuses quickly and says when to come again.
    """
    if asked.report is None:
        return Health(False, f"not ready: the daemon does not answer: {asked.why}")
    if asked.report["draining"]:
        return Health(False, "not ready: the daemon is shutting down")
    pools = asked.report["pools"]
    if bereft := [name for name, pool in pools.items() if not pool["workers"]]:
        return Health(False, f"not ready: no worker in {_pools(bereft)}; the log says why")
    if tripped := [name for name, pool in pools.items() if pool["breaker"] == "open"]:
        return Health(True, f"ready, but the store does not answer {_pools(tripped)}: requests are tried one by one")
    return Health(True, "ready")


def _pools(names: list[str]) -> str:
    return f"pool {names[0]}" if len(names) == 1 else f"pools {', '.join(names)}"
