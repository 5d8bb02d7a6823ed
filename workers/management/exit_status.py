"""What an exit status says, in words."""

from workers.launch import START_FAILED_STATUS

from .signals import signal_name


def in_words(status: int) -> str:
    """status: negative for the signal that ended the process. As in "it exited with status 1"."""
    if status < 0:
        return f"was ended by {signal_name(-status)}"
    return "could not start" if status == START_FAILED_STATUS else f"exited with status {status}"
