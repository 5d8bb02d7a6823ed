"""A planted fault: a function has another body for as long as somebody looks for it. It keeps its place, so that it is
wrong wherever it is known."""

import inspect
import textwrap
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import CodeType
from typing import Any, NamedTuple


class Edit(NamedTuple):
    """text: of the function's source, where it stands once; instead: what stands in its place."""

    function: Callable[..., Any]
    text: str
    instead: str

    @contextmanager
    def planted(self) -> Iterator[None]:
        function: Any = self.function
        before = function.__code__
        function.__code__ = self._code()
        try:
            yield
        finally:
            function.__code__ = before

    def _code(self) -> CodeType:
        function: Any = self.function
        source = textwrap.dedent(inspect.getsource(function))
        assert source.count(self.text) == 1, (
            f"{function.__qualname__}: {self.text!r} stands {source.count(self.text)} times"
        )
        names = dict(function.__globals__)
        exec(compile(source.replace(self.text, self.instead), inspect.getfile(function), "exec"), names)
        made: Any = names[function.__name__]
        made = made.fget if isinstance(made, property) else made
        code: CodeType = made.__code__
        return code


class Mutant(NamedTuple):
    """edits: planted together. only_records: can't be seen in a store that is atomic."""

    edits: tuple[Edit, ...]
    only_records: bool = False

    @contextmanager
    def planted(self) -> Iterator[None]:
        with ExitStack() as stack:
            for edit in self.edits:
                stack.enter_context(edit.planted())
            yield


def fault(function: Callable[..., Any], text: str, instead: str) -> Mutant:
    return Mutant((Edit(function, text, instead),))


def fault_of_records(function: Callable[..., Any], text: str, instead: str) -> Mutant:
    """In what is done where the store is not atomic."""
    return Mutant((Edit(function, text, instead),), only_records=True)
