"""What the master record of a transaction says that is there already, as far as creating it needs to know. Nothing of
it is used before it is known to be of its kind."""

from typing import Annotated, Final

from msgspec import Meta, Struct, ValidationError, convert

from protocol.wire import Error
from store import Result, Status
from workers.runtime.store_errors import error_of_record, error_of_unreadable

from .candidate import abandoned_error

_Flag = bool | int | None
_Number = Annotated[int, Meta(ge=0)] | None


class Master(Struct, gc=False):
    """By the names of its bins."""

    abandoned: _Flag = None
    creating: _Flag = None
    conflicting: _Flag = None
    external: _Flag = None
    locked: _Flag = None
    sizeInBytes: _Number = None
    fee: int | None = None
    blockIDs: list[int] | None = None
    unminedSince: _Number = None
    totalExtraRecs: _Number = None
    lockSeq: _Number = None

    @property
    def is_partial(self) -> bool:
        """Only some of its outputs are known."""
        return self.sizeInBytes is None


MASTER_BINS: Final = Master.__struct_fields__


def read_master(result: Result) -> Master | Error | None:
    """None: there is none. An error says that nobody can tell, or that it is being abandoned. result: of reading
    MASTER_BINS."""
    if result.status is Status.NOT_FOUND:
        return None
    if result.status is not Status.OK:
        return error_of_record(result, "transaction")
    try:
        master = convert(result.value, Master)
    except ValidationError as fault:
        return error_of_unreadable("transaction", fault)
    return abandoned_error() if master.abandoned else master
