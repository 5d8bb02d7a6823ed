"""What `utxod doctor --live` finds in two reports: each condition by its name, causes before what follows from them."""

import re
from typing import Any

import pytest

from tests.support.reports import changed, report
from utxod.diagnosis import WELL, diagnose
from utxod.diagnosis.findings import BAD_ITEMS, FOLLOWS
from utxod.interval import Interval

BEFORE, AFTER = report(600.0), report(603.0)
QUEUED = {"pools.write.oldest_seconds": 2.0, "pools.write.queued": 5000}
SLOW = {"figures.store_seconds.3.sum": BEFORE["figures"]["store_seconds"][3]["sum"] + 500}  # of some 160 dispatches
ENDED = {"figures.worker_exits": [{"pool": "write", "cause": "crashed", "count": 4}]}
ENDED_BEFORE = {"figures.worker_exits": [{"pool": "write", "cause": "crashed", "count": 2}]}


def row(table: str, **labels: str) -> int:
    rows = AFTER["figures"][table]
    return next(place for place, found in enumerate(rows) if labels.items() <= found.items())


def failed(code: str, items: int, pool: str = "write") -> dict[str, Any]:
    """So many more answers, beside some 30,000 others of the pool."""
    more = {"pool": pool, "operation": "spend", "code": code, "items": items, "requests": items}
    return {"figures.answers": [*AFTER["figures"]["answers"], more]}


def names(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return [finding.name for finding in diagnose(changed(BEFORE, before), changed(AFTER, after))]


MISSED = row("answers", operation="spend", code="DEADLINE_EXCEEDED")
ONE_CONDITION = {
    "UtxodStandstill": ({}, {"figures.sweep_lateness_seconds.counts.13": 1}),
    "UtxodDescriptorsShort": ({}, {"descriptors.open": 950, "descriptors.limit": 1024}),
    "UtxodBreakerOpen": ({}, {"pools.write.breaker": "open"}),
    "UtxodStoreSlow": ({}, SLOW),
    "UtxodWorkersDying": (ENDED_BEFORE, ENDED),
    "UtxodStoreFailing": ({}, failed("STORE_ERROR", 900)),
    "UtxodNotReady": ({"pools.write.workers": 0}, {"pools.write.workers": 0}),
    "UtxodOwedGrowing": ({}, {"owed": 30_000}),
    "UtxodBatchesSmall": (
        QUEUED,
        {
            **QUEUED,
            "settings": {**AFTER["settings"], "broker.batch_limit": 5},
            **{
                f"figures.batch_items.{place}.sum": BEFORE["figures"]["batch_items"][place]["sum"] + 5
                for place in (2, 3)
            },
        },
    ),
    "UtxodQueueGrowing": (QUEUED, QUEUED),
    "UtxodRefusing": ({}, {"figures.refusals.0.items": 2000}),
    "UtxodDeadlinesMissed": ({}, {f"figures.answers.{MISSED}.items": 20_000}),
    "UtxodUndeliverable": ({}, {"figures.undeliverable_items": 5000}),
    "UtxodInDoubt": ({}, {"figures.in_doubt": 1}),
    "UtxodLogDropped": ({}, {"log_lines_dropped.workers": 7}),
}


def test_a_daemon_in_good_health_has_no_findings() -> None:
    assert diagnose(BEFORE, AFTER) == []
    assert diagnose(report(600.0, 0), report(603.0, 0)) == []


def test_every_condition_can_be_found_and_has_words_for_where_it_is_not() -> None:
    assert set(ONE_CONDITION) == set(FOLLOWS) == set(WELL)
    assert list(WELL) == list(FOLLOWS)


@pytest.mark.parametrize("name", list(ONE_CONDITION))
def test_each_condition_is_found_by_its_name_alone(name: str) -> None:
    before, after = ONE_CONDITION[name]
    found = names(before, after)
    follows = ["UtxodQueueGrowing"] if name == "UtxodBatchesSmall" else []  # that the queue waits is part of it
    assert found == [name, *follows]


CAUSES_FIRST = {
    "a slow store makes the queue grow": (
        QUEUED,
        {**QUEUED, **SLOW},
        [("UtxodStoreSlow", ""), ("UtxodQueueGrowing", "UtxodStoreSlow")],
    ),
    "a store that hangs wedges workers": (
        ENDED_BEFORE,
        {"pools.write.breaker": "open", "figures.worker_exits": [{"pool": "write", "cause": "wedged", "count": 4}]},
        [("UtxodBreakerOpen", ""), ("UtxodWorkersDying", "UtxodBreakerOpen")],
    ),
    "workers that die leave work in doubt": (
        ENDED_BEFORE,
        {**ENDED, "figures.lost_requests": 2},
        [("UtxodWorkersDying", ""), ("UtxodInDoubt", "UtxodWorkersDying")],
    ),
    "what a store that hangs has in its hands is failed when the time is up": (
        {},
        {"pools.write.breaker": "open", **failed("STORE_ERROR", 900)},
        [("UtxodBreakerOpen", ""), ("UtxodStoreFailing", "UtxodBreakerOpen")],
    ),
    "a store that fails leaves follow-ups in doubt": (
        {},
        {"figures.in_doubt": 3, **failed("STORE_ERROR", 900)},
        [("UtxodStoreFailing", ""), ("UtxodInDoubt", "UtxodStoreFailing")],
    ),
    "one pool's trouble is no cause of another's": (
        {"pools.read.oldest_seconds": 2.0},
        {"pools.read.oldest_seconds": 2.0, "pools.write.breaker": "open"},
        [("UtxodBreakerOpen", ""), ("UtxodQueueGrowing", "")],
    ),
}


@pytest.mark.parametrize("case", list(CAUSES_FIRST))
def test_a_cause_does_not_hide_behind_what_follows_from_it(case: str) -> None:
    before, after, expected = CAUSES_FIRST[case]
    found = diagnose(changed(BEFORE, before), changed(AFTER, after))
    assert [(finding.name, finding.because) for finding in found] == expected


@pytest.mark.parametrize(
    ("code", "store", "cause", "remedy"),
    [
        ("STORE_ERROR", "lmdb:///var/lib/utxod", "the store answers, and fails", "map_size"),
        ("STORE_ERROR", "lmdb:///var/lib/utxod", "the store answers, and fails", "moved, removed or replaced"),
        ("STORE_ERROR", "aerospike://node/utxo", "the store answers, and fails", "asadm"),
        ("OVERLOADED", "aerospike://node/utxo", "the store has no room", "the namespace stop writes"),
        ("INTERNAL", "aerospike://node/utxo", "a defect", "traceback"),
    ],
)
def test_a_store_that_fails_soon_is_found_by_what_it_answers(code: str, store: str, cause: str, remedy: str) -> None:
    """No breaker opens, nothing is slow, and no worker ends."""
    (finding,) = diagnose(BEFORE, changed(AFTER, {"store": store, **failed(code, 900)}))
    assert finding.name == "UtxodStoreFailing"
    assert f"900 {code}" in finding.seen
    assert cause in finding.cause
    assert remedy in finding.remedy


def answered_alone(code: str, items: int) -> dict[str, Any]:
    return {"figures.answers": [{"pool": "read", "operation": "get", "code": code, "items": items, "requests": items}]}


# Of a daemon that nobody else asks anything: what so many items look like.
OF_AN_IDLE_DAEMON = {
    "UtxodStoreFailing": lambda items: answered_alone("STORE_ERROR", items),
    "UtxodRefusing": lambda items: {
        "figures.refusals": [{"pool": "write", "code": "UNAVAILABLE", "items": items, "requests": items}]
    },
    "UtxodDeadlinesMissed": lambda items: answered_alone("DEADLINE_EXCEEDED", items),
    "UtxodUndeliverable": lambda items: {"figures.undeliverable_items": items, **answered_alone("OK", items)},
}


@pytest.mark.parametrize("name", list(OF_AN_IDLE_DAEMON))
def test_a_few_items_are_no_finding_however_great_their_share_is(name: str) -> None:
    """As of one client that was ended, or of one damaged record: all that was asked, and nearly nothing."""

    def found(items: int) -> list[str]:
        after = changed(report(603.0, 0), OF_AN_IDLE_DAEMON[name](items))
        return [finding.name for finding in diagnose(report(600.0, 0), after)]

    assert found(BAD_ITEMS - 1) == []
    assert found(BAD_ITEMS) == [name]


def test_reads_that_fail_are_not_for_want_of_room() -> None:
    (finding,) = diagnose(BEFORE, changed(AFTER, failed("STORE_ERROR", 900, "read")))
    assert finding.name == "UtxodStoreFailing"
    assert "map_size" not in finding.remedy
    assert "records are damaged" in finding.remedy


def test_a_small_share_of_many_items_is_no_finding() -> None:
    assert names({}, failed("STORE_ERROR", 100)) == []


CLUSTER = "aerospike://node/utxo"
SET = "lmdb:///var/lib/utxod"
# Of its time in execution a dispatch is in the store mostly; here not at all.
IDLE_STORE = {
    f"figures.store_seconds.{place}.sum": row["sum"] for place, row in enumerate(BEFORE["figures"]["store_seconds"])
}


@pytest.mark.parametrize(
    ("store", "pool", "is_store_busy", "remedy", "not_said"),
    [
        (SET, "write", False, "utxod scale write 2, where processors are to spare", "cluster"),
        (SET, "write", True, "?sync=false in the store's URL", "utxod scale"),
        (f"{SET}?sync=false", "write", True, "more workers add little", "sync"),
        (SET, "read", True, "utxod scale read 2, where processors are to spare", "cluster"),
        (CLUSTER, "write", True, "utxod scale write 2, where the cluster has room", "sync=false"),
        (CLUSTER, "write", False, "utxod scale write 2, where processors are to spare", "cluster"),
    ],
)
def test_more_workers_are_the_remedy_where_they_help(
    store: str, pool: str, is_store_busy: bool, remedy: str, not_said: str
) -> None:
    waits = {"store": store, f"pools.{pool}.oldest_seconds": 2.0, f"pools.{pool}.queued": 5000}
    after = waits if is_store_busy else waits | IDLE_STORE
    (finding,) = diagnose(changed(BEFORE, waits), changed(AFTER, after))
    assert finding.name == "UtxodQueueGrowing"
    assert remedy in finding.remedy
    assert not_said not in finding.remedy


def test_where_nothing_comes_back_more_workers_are_no_remedy() -> None:
    """Nor are they too few beside an idle store: what they hold takes as long as it does."""
    idle_before, idle = report(600.0, 0), report(603.0, 0)
    waits = {**QUEUED, "pools.write.idle": 0}
    after = changed(idle, {**waits, "pools.write.longest_seconds": 4.0})
    found = {finding.name: finding for finding in diagnose(changed(idle_before, waits), after)}
    assert set(found) == {"UtxodStoreSlow", "UtxodQueueGrowing"}
    assert "nothing came back from its workers" in found["UtxodQueueGrowing"].cause
    assert "look at the set's disk" in found["UtxodQueueGrowing"].remedy


def test_the_daemon_itself_is_what_is_busy_where_workers_are_idle_at_both_ends() -> None:
    """At one end alone it is one that has just come back."""
    waits = {**QUEUED, "store": CLUSTER, "pools.write.idle": 1}
    (both,) = diagnose(changed(BEFORE, waits), changed(AFTER, waits))
    assert "the daemon itself is busy" in both.cause
    (one,) = diagnose(changed(BEFORE, {**waits, "pools.write.idle": 0}), changed(AFTER, waits))
    assert "the daemon itself" not in one.cause


REFUSED = {"figures.refusals.0.items": 5000}
UNAVAILABLE = {"figures.refusals": [{"pool": "write", "code": "UNAVAILABLE", "items": 5000, "requests": 500}]}


@pytest.mark.parametrize(
    ("changes", "cause", "remedy"),
    [
        ({**UNAVAILABLE, "pools.write.workers": 0}, "it has no worker", "the log says why workers do not come"),
        ({**UNAVAILABLE, "pools.write.breaker": "open"}, "its store does not answer", "look at the set's disk"),
        (UNAVAILABLE, "its store refused for a moment", "the log says which"),
        ({**REFUSED, "pools.write.queue_items": 100}, "full with what is done in", "raise broker.queue_items"),
        ({**REFUSED, "pools.write.queue_bytes": 10_000}, "full with what is done in", "raise broker.queue_bytes"),
        (REFUSED, "more is asked than this store can write", "more workers add little"),
        ({**REFUSED, "store": CLUSTER}, "the workers are too few", "utxod scale write 2, where the cluster has room"),
    ],
)
def test_the_remedy_for_refusals_follows_the_code_the_queue_and_the_store(
    changes: dict[str, Any], cause: str, remedy: str
) -> None:
    found = {finding.name: finding for finding in diagnose(BEFORE, changed(AFTER, changes))}
    assert cause in found["UtxodRefusing"].cause
    assert remedy in found["UtxodRefusing"].remedy
    assert ("utxod scale" in found["UtxodRefusing"].remedy) == ("utxod scale" in remedy)


LATE = {f"figures.answers.{MISSED}.items": 20_000}


@pytest.mark.parametrize(
    ("changes", "cause", "remedy"),
    [
        (
            {"figures.queue_seconds.3.counts.14": 10**6},
            "their time is over while they wait",
            "more workers add little",
        ),
        ({}, "the store takes longer", "look at the set's disk"),
        (IDLE_STORE, "workers take longer", "has the machine processors to spare"),
    ],
)
def test_the_remedy_for_missed_deadlines_follows_where_the_time_goes(
    changes: dict[str, Any], cause: str, remedy: str
) -> None:
    (finding,) = diagnose(BEFORE, changed(AFTER, {**LATE, **changes}))
    assert cause in finding.cause
    assert remedy in finding.remedy
    assert "give calls more time" in finding.remedy
    assert "utxod scale" not in finding.remedy


def test_follow_ups_at_their_limit_are_found_though_there_is_one_fewer_now() -> None:
    """Writes are held back on and off. Far below it, they are worked off."""
    assert names({"owed": 50_001}, {"owed": 49_000}) == ["UtxodOwedGrowing"]
    assert names({"owed": 42_000}, {"owed": 40_000}) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"log_lines_dropped.workers": 1},
        {"descriptors.open": 950, "descriptors.limit": 1024, "submitters": 1},
        {"pools.write.workers_wanted": 4, **QUEUED},
        {"pools.write.workers_wanted": 4, "figures.worker_exits": [{"pool": "write", "cause": "crashed", "count": 7}]},
    ],
)
def test_one_of_something_is_said_to_be_one(changes: dict[str, Any]) -> None:
    before = {path: value for path, value in changes.items() if path.startswith("pools")}
    (finding,) = diagnose(changed(BEFORE, before), changed(AFTER, changes))
    assert re.search(r"\b1 (line|submitter|worker)\b", f"{finding.seen} {finding.cause}")


def test_batches_that_the_limit_keeps_small_are_told_so() -> None:
    before, after = ONE_CONDITION["UtxodBatchesSmall"]
    full = {
        f"figures.dispatches.{place}.count": 10**6 for place in (row("dispatches", operation="spend", reason="full"),)
    }
    finding = diagnose(changed(BEFORE, before), changed(AFTER, {**after, **full}))[0]
    assert finding.cause.startswith("broker.batch_limit is 5")
    assert "raise broker.batch_limit" in finding.remedy


def test_small_batches_of_several_operations_want_more_workers_where_these_write_side_by_side() -> None:
    before, after = ONE_CONDITION["UtxodBatchesSmall"]
    for store, more_help in ((SET, False), (CLUSTER, True)):
        finding = diagnose(changed(BEFORE, before), changed(AFTER, {**after, "store": store}))[0]
        assert finding.cause.startswith("2 operations take turns")
        assert ("add workers" in finding.remedy) == more_help


def test_writers_of_an_embedded_set_that_wait_for_each_other_are_to_be_fewer() -> None:
    for workers in (1, 4):
        (finding,) = diagnose(BEFORE, changed(AFTER, {**SLOW, "pools.write.workers": workers}))
        assert finding.name == "UtxodStoreSlow"
        assert ("utxod scale write 1" in finding.remedy) == (workers > 1)


def test_of_a_breaker_that_is_closed_again_nothing_is_said_of_probes() -> None:
    (finding,) = diagnose(BEFORE, changed(AFTER, {"pools.write.breaker_trips": 1}))
    assert finding.seen == "the breaker of the write pool opened 1 time in 3.0 s, and is closed just now"


def test_a_worker_that_died_once_and_was_replaced_is_no_finding() -> None:
    once = {"figures.worker_exits": [{"pool": "write", "cause": "crashed", "count": 1}]}
    assert names({}, once) == []
    assert names({}, {"figures.worker_exits": [{"pool": "write", "cause": "retired", "count": 9}]}) == []


OLD, LATER = report(864_000.0), report(864_003.0)
SCALED = {"pools.write.workers_wanted": 8, "figures.worker_exits": [{"pool": "write", "cause": "crashed", "count": 3}]}


def of_processes(state: str, count: int) -> dict[str, Any]:
    """So many more write workers in that state."""
    more = [{**AFTER["processes"][1], "pid": pid, "state": state} for pid in range(9000, 9000 + count)]
    return {"processes": [*AFTER["processes"], *more]}


def test_deaths_of_long_ago_are_no_finding_while_workers_start() -> None:
    """As where the pool was just scaled, or is replaced; nor is one more in as long a time."""
    starting = {**SCALED, **of_processes("starting", 7)}
    assert diagnose(changed(OLD, starting), changed(LATER, starting)) == []
    before = {"figures.worker_exits": [{"pool": "write", "cause": "crashed", "count": 2}]}
    after = {"figures.worker_exits": [{"pool": "write", "cause": "crashed", "count": 3}]}
    assert diagnose(changed(OLD, before), changed(LATER, after)) == []


def test_a_crash_loop_is_found_also_between_two_deaths() -> None:
    """Workers are missing, and none is being started: the next start waits."""
    (finding,) = diagnose(changed(OLD, SCALED), changed(LATER, SCALED))
    assert finding.name == "UtxodWorkersDying"
    assert "crash loop" in finding.cause


def test_one_slow_batch_that_nobody_waits_behind_is_no_finding() -> None:
    idle = report(603.0, 0)
    one = {"pool": "write", "operation": "create", "counts": [0] * 12 + [1] + [0] * 4, "sum": 0.6}
    assert diagnose(report(600.0, 0), changed(idle, {"figures.store_seconds": [one]})) == []
    behind = {"pools.write.oldest_seconds": 0.3, "pools.write.queued": 3}
    found = diagnose(changed(report(600.0, 0), behind), changed(idle, {"figures.store_seconds": [one], **behind}))
    assert found[0].name == "UtxodStoreSlow"


def test_a_burst_that_is_nearly_worked_off_is_no_finding() -> None:
    before = {"pools.write.oldest_seconds": 1.5, "pools.write.queued": 100_000}
    after = {"pools.write.oldest_seconds": 2.0, "pools.write.queued": 40_000}
    assert names(before, after) == []
    assert names(before, {**after, "pools.write.queued": 99_000}) == ["UtxodQueueGrowing"]


def test_by_one_report_alone_no_cause_is_named_for_a_queue() -> None:
    """As where the figures' process has just begun: what is done a second, and where the time goes, is not known."""
    waiting = changed(AFTER, QUEUED)
    assert diagnose(waiting, waiting) == []


def test_batches_of_all_that_waited_for_the_one_operation_are_not_small() -> None:
    """What waits now came while the store took its time over them."""
    waits = {"pools.write.oldest_seconds": 2.0, "pools.write.queued": 150}
    few = {"figures.dispatches": [{"pool": "write", "operation": "spend", "reason": "all", "count": 1}]}
    small = {"pool": "write", "operation": "spend", "counts": [0, 0, 1] + [0] * 8, "sum": 3}
    after = changed(report(603.0, 0), {**waits, **few, "figures.batch_items": [small]})
    assert [finding.name for finding in diagnose(changed(report(600.0, 0), waits), after)] == ["UtxodQueueGrowing"]


def test_of_a_daemon_started_anew_in_between_only_what_is_since_then_counts() -> None:
    earlier = changed(BEFORE, {"epoch": 1, "figures.in_doubt": 5, "log_lines_dropped.daemon": 9})
    assert diagnose(earlier, report(2.0)) == []
    interval = Interval(earlier, report(2.0))
    assert interval.seconds == 2.0
    assert interval.count("answers", "items") > 0
    assert interval.histogram("queue_seconds").count > 0
