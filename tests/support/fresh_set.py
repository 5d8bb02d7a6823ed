"""A set of records that a run is given must be empty: the run's own records are held against what it has asked for."""

import contextlib

from aerospike import exception

from bench.direct import Direct
from store import StoreError
from utxod.own_daemon import DaemonError


def refuse_used(url: str) -> None:
    """url: of a set in an Aerospike cluster. Raises DaemonError where it has records, or can't be looked at."""
    where = url.partition("?")[0]
    try:
        with contextlib.closing(Direct(url)) as direct:
            is_empty = _is_empty(direct)
    except (StoreError, exception.AerospikeError) as error:
        raise DaemonError(f"{where}: cannot be looked at: {error}") from error
    if not is_empty:
        raise DaemonError(f"{where}: the set is not empty; name one of the run's own by set=...")


def _is_empty(direct: Direct) -> bool:
    query = direct.client.query(direct.namespace, direct.set)
    query.max_records = 1
    return not query.results(options={"nobins": True})
