"""What several findings have to say."""

from typing import Final

from utxod.interval import Report

ASK_FOR_MANY: Final = "ask for many items in one call (the client's ..._many)"
LOOK_FOR_WORKERS: Final = (
    "the log says why workers do not come (can't be opened, can't be started, is gone, has not become ready); is the "
    "store well (utxod doctor)?"
)


def is_embedded(report: Report) -> bool:
    return "lmdb:" in report["store"]


def look_at_the_store(report: Report) -> str:
    if is_embedded(report):
        return (
            "look at the set's disk: is it full, failing, or busy (df, dmesg, iostat -x 1)? Who else writes to the set?"
        )
    return "look at the cluster: are all nodes up, their disks and the network well (asadm -e info, utxod doctor)?"


def scale(pool: str, workers: int) -> str:
    return f"utxod scale {pool} {workers}"
