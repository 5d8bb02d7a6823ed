"""What the worker has in hand, on every line of its log: so that an item can be followed from its client to the
store."""

import logging
import threading

from workers.log_lines import message_of, name_requests


class InHand(logging.Filter):
    """A filter of a handler, which lets every record pass: one that is logged while a dispatch is in hand, by the
    thread that took it, has its number as `dispatch`, and the ids of its requests in `requests` (hex, a few of them),
    both also at the end of its message."""

    def __init__(self) -> None:
        super().__init__()
        self._number = 0
        self._request_ids = b""
        self._thread = 0

    def take(self, number: int, request_ids: bytes) -> None:
        """A dispatch begins. request_ids: one after the other."""
        self._number = number
        self._request_ids = request_ids
        self._thread = threading.get_ident()

    def release(self) -> None:
        """There is nothing in hand."""
        self._number = 0

    def filter(self, record: logging.LogRecord) -> bool:
        if self._number and record.thread == self._thread:
            requests, in_words = name_requests(self._request_ids)
            record.msg = f"{message_of(record)} (dispatch {self._number}, {in_words})"
            record.args = ()
            record.__dict__ |= {"dispatch": self._number, "requests": requests}
        return True
