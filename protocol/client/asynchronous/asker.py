"""What is asked of: the ground of the operations. Its twin is generated: tests/protocol/generate_blocking.py."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, TypeVar

from .. import questions
from ..questions import Question

T = TypeVar("T")


class Asker(ABC):
    """An operation is a method that asks one question. What becomes of it is up to who inherits them."""

    @abstractmethod
    async def _ask(self, question: Question[T], timeout: float | None) -> T: ...

    async def status(self, *, timeout: float | None = None) -> dict[str, Any]:
        """Asks the daemon for its report of itself (docs/operating.md).

        Returns a map with string keys, for people and monitoring; its keys may grow.
        """
        return await self._ask(questions.report(), timeout)


def same_of(asker: Asker, client: Asker, method: Callable[..., object]) -> Callable[..., Any]:
    """The asker's method that is the same as one of the client's. Raises TypeError where it is none of the client's, or
    none that asks the daemon."""
    name = getattr(method, "__name__", "_")
    found: Callable[..., Any] | None = None if name.startswith("_") else getattr(asker, name, None)
    if found is None or getattr(method, "__self__", None) is not client:
        raise TypeError(f"{method!r}: it takes a method of the client that asks the daemon, such as client.get")
    return found
