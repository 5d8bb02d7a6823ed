"""Work that signals interrupt: what each of them ends."""

import asyncio
import contextlib
import signal

import pytest

from utxod.interruption import run_to_an_end


def test_a_second_signal_ends_what_goes_on_after_the_first_also_where_both_come_at_once() -> None:
    async def work() -> None:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.sleep(60)  # finishes what is under way

    with pytest.raises(SystemExit) as end:
        run_to_an_end(work())
    assert end.value.code == 128 + signal.SIGTERM
