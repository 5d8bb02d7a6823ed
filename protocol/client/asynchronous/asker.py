"""What is asked of: the ground of the operations. Its twin is generated: tests/protocol/generate_blocking.py."""

from abc import ABC, abstractmethod
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
