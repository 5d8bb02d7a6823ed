"""What can be found wrong with a daemon, from which on, and what it may follow from.

Each finding has the name of an alert (deploy/prometheus), which goes by the same condition over a longer time, and of a
page in docs/operations.
"""

from typing import Final, NamedTuple

# An idle pool hands out at once, a busy one after the dispatches before: of a healthy store some 0.1 s each.
QUEUE_OLD_SECONDS: Final = 1.0
# Below so many items a dispatch, its commit or round trip costs more than what is in it.
SMALL_BATCH: Final = 20.0
# Where no more wait, larger batches would not help.
SMALL_QUEUE: Final = 100
# A healthy store takes a full batch in some 0.1 s. From here on callers notice; a tenth of the usual budget is gone.
STORE_SLOW_SECONDS: Final = 0.5
# Not the store alone: where nothing has come back yet, what is under way may be a worker's own work.
DISPATCH_LONG_SECONDS: Final = 1.0
# One that dies is replaced, and nobody need look; a third one in ten minutes did not die by chance.
DYING_EXITS: Final = 3
DYING_SECONDS: Final = 600.0
# A burst: at the rate at which the queue shrinks nothing is left so soon.
WORKED_OFF_SECONDS: Final = 5.0
# Newcomers are kept out when some 65 are left: a reserve for workers and files, and one for who waits at the door.
DESCRIPTORS_LEFT: Final = 100
# Of a large limit, the share from which on it is time to look.
DESCRIPTORS_SHARE: Final = 0.9
# Of items that were refused, failed, not done in time, or not taken. Some of many are how a queue tells its submitters
# to wait, or a caller's own haste; and where little is asked, fewer than five may be one client that was ended, or one
# damaged record that somebody asks for again.
BAD_SHARE, BAD_ITEMS = 0.01, 5
# From broker.owed_items on writes are held back.
OWED_SHARE: Final = 0.5
# From here on they are held back on and off: with the next batch there may be as many.
HELD_BACK_SHARE: Final = 0.9
# A sweep so late: whoever asked with a deadline of a second was answered too late. (A bound of the histograms.)
STANDSTILL_SECONDS: Final = 1.0
# Of its time in execution, that a dispatch spends in the store: below it the workers are what is short.
STORE_BOUND_SHARE: Final = 0.5


class Finding(NamedTuple):
    """name: of the alert. pool: "" where the whole daemon is meant. seen: with numbers. because: the finding's name
    that this one follows from, if any."""

    name: str
    pool: str
    seen: str
    cause: str
    remedy: str
    because: str = ""

    @property
    def page(self) -> str:
        return f"docs/operations/{self.name}.md"


def are_many(bad: int, items: int) -> bool:
    """Whether so many of the items are more than what befalls any daemon."""
    return bad >= BAD_ITEMS and bad > BAD_SHARE * items


# No daemon answers: there are no reports to tell by.
DOWN: Final = "UtxodDown"

# What each finding may follow from, in the order in which they are to be mended; those at the top cause those below.
FOLLOWS: Final[dict[str, tuple[str, ...]]] = {
    "UtxodStandstill": (),
    "UtxodDescriptorsShort": (),
    "UtxodBreakerOpen": (),
    "UtxodStoreSlow": ("UtxodBreakerOpen",),
    "UtxodWorkersDying": ("UtxodBreakerOpen", "UtxodStoreSlow"),
    "UtxodStoreFailing": ("UtxodBreakerOpen", "UtxodStoreSlow", "UtxodWorkersDying"),
    "UtxodNotReady": ("UtxodBreakerOpen", "UtxodStoreSlow", "UtxodWorkersDying"),
    "UtxodOwedGrowing": ("UtxodBreakerOpen", "UtxodStoreSlow", "UtxodWorkersDying", "UtxodNotReady"),
    "UtxodBatchesSmall": ("UtxodBreakerOpen",),
    "UtxodQueueGrowing": (
        "UtxodStandstill", "UtxodBreakerOpen", "UtxodStoreSlow", "UtxodWorkersDying", "UtxodNotReady",
        "UtxodOwedGrowing", "UtxodBatchesSmall",
    ),
    "UtxodRefusing": (
        "UtxodBreakerOpen", "UtxodStoreSlow", "UtxodWorkersDying", "UtxodNotReady", "UtxodOwedGrowing",
        "UtxodBatchesSmall", "UtxodQueueGrowing",
    ),
    "UtxodDeadlinesMissed": (
        "UtxodStandstill", "UtxodBreakerOpen", "UtxodStoreSlow", "UtxodWorkersDying", "UtxodNotReady",
        "UtxodOwedGrowing", "UtxodBatchesSmall", "UtxodQueueGrowing",
    ),
    "UtxodUndeliverable": ("UtxodStandstill",),
    "UtxodInDoubt": ("UtxodBreakerOpen", "UtxodStoreSlow", "UtxodWorkersDying", "UtxodStoreFailing"),
    "UtxodLogDropped": (),
}  # fmt: skip

# What holds where there is no such finding.
WELL: Final = {
    "UtxodStandstill": "the daemon's loop was never late",
    "UtxodDescriptorsShort": "descriptors are left for newcomers",
    "UtxodBreakerOpen": "every pool's breaker is closed",
    "UtxodStoreSlow": "the store answers soon",
    "UtxodWorkersDying": "no worker ended that was not told to",
    "UtxodStoreFailing": "the store does what it is asked",
    "UtxodNotReady": "every pool has workers",
    "UtxodOwedGrowing": "follow-ups are done as they come",
    "UtxodBatchesSmall": "batches are as large as the queue has items for",
    "UtxodQueueGrowing": "nothing waits for long",
    "UtxodRefusing": "requests are let in",
    "UtxodDeadlinesMissed": "answers come within their deadlines",
    "UtxodUndeliverable": "answers are taken",
    "UtxodInDoubt": "nothing new is in doubt",
    "UtxodLogDropped": "every line of the log was taken",
}
