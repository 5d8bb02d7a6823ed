"""Interrupts what a thread does in the client, at any point."""

import dis
import gc
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

# Where the interpreter looks whether a signal has come: after these.
LOOKS = {dis.opmap[name] for name in ("RESUME", "CALL", "CALL_FUNCTION_EX", "JUMP_BACKWARD")}


class Interrupt:
    """Interrupts, once, what this thread does in the client: the nth time that a signal's handler could. No garbage is
    collected meanwhile: what is raised in a finalizer of another test's client is lost."""

    def __init__(self, nth: int, does: Callable[[], None]) -> None:
        self.left = nth
        self._does = does
        self._before: dict[FrameType, int] = {}
        self._traced = sys.gettrace()

    def __enter__(self) -> "Interrupt":
        gc.disable()
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._traced)
        gc.enable()

    def _trace(self, frame: FrameType, event: str, _: object) -> Any:
        if event == "call" and "/tests/" in frame.f_code.co_filename:
            return None
        frame.f_trace_opcodes = True
        if event == "return":
            self._before.pop(frame, None)
        elif event == "opcode" and self.left:
            if self._before.get(frame) in LOOKS:
                self.left -= 1
                if not self.left:
                    sys.settrace(None)
                    self._does()
            self._before[frame] = frame.f_code.co_code[frame.f_lasti]
        return self._trace


def interrupts(does: Callable[[], None], step: int) -> Iterator[Interrupt]:
    """One after the other, at every `step`th point of what each is entered around, until it comes after its end."""
    nth = 1
    while True:
        with_interrupt = Interrupt(nth, does)
        yield with_interrupt
        if with_interrupt.left:
            return
        nth += step


def raising(error: type[BaseException]) -> Callable[[], None]:
    def does() -> None:
        raise error

    return does
