"""Signals: what they are called."""

import signal


def signal_name(number: int) -> str:
    """For people; most of the real-time signals have no name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
