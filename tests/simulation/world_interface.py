"""What submitters and workers use of the simulated world that they are in."""

from collections.abc import Callable
from random import Random
from typing import Any, Protocol

from broker.core import Core
from broker.settings import BrokerSettings
from tests.simulation.invariants import InvariantChecker
from tests.simulation.tasks import Task
from tests.simulation.weather import Weather


class WorldInterface(Protocol):
    """now: microseconds. epoch: of the daemon that runs now; core, checker: of it. windy: 1, and 0 once every fault is
    over. tasks: everything that was asked or followed, by its body. closing: nobody asks any more."""

    rng: Random
    now: int
    epoch: int
    windy: int
    closing: bool
    settings: BrokerSettings
    weather: Weather
    tasks: dict[Any, Task]
    core: Core
    checker: InvariantChecker

    def at(self, time: int, handler: Callable[..., bool], *args: Any) -> None:
        """Calls the handler at this time; it returns whether it has passed an event to the core."""

    def after(self, delay: int, handler: Callable[..., bool], *args: Any) -> None:
        """The same, so many microseconds from now."""

    def latency(self) -> int:
        """How long the next message is under way, microseconds."""

    def note(self, *what: Any) -> None:
        """For the trace."""

    def make(self, operation: str, pool: str, **fields: Any) -> Task: ...

    def request_id(self) -> bytes: ...
