"""The frames between broker and worker: what is packed is unpacked, and whatever else comes raises one exception."""

import contextlib
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.worker_wire import (
    DISPATCH,
    DONE,
    LEVEL,
    READY,
    STOP,
    Assignment,
    DispatchMessage,
    DoneMessage,
    FollowUp,
    LevelMessage,
    ReadyMessage,
    StopMessage,
    WorkerWireError,
    pack_dispatch,
    pack_done,
    pack_ready,
    unpack_from_broker,
    unpack_from_worker,
)

ASSIGNMENTS = [Assignment(7, 2, 1), Assignment(0, 5, 0, only=3)]
IDS = bytes(range(32))
FOLLOW_UPS = [FollowUp(0, 1, "lock_children", b"key", 3, b"\x90"), FollowUp(None, 0, "note_child", b"key", 1, b"\x90")]

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.sampled_from(["pool", "pid"]), inner),
    max_leaves=10,
)
tags = st.sampled_from([READY, DISPATCH, DONE, LEVEL, STOP])
messages = st.lists(st.binary(max_size=50), max_size=4) | st.builds(
    lambda tag, head, rest: [tag, msgpack.packb(head), *rest], tags, values, st.lists(st.binary(), max_size=3)
)


def test_what_a_worker_packs_is_unpacked() -> None:
    assert unpack_from_worker(pack_ready("read", 12)) == ReadyMessage("read", 12)
    done = pack_done(3, FOLLOW_UPS, timed_out=True, store_us=1500, ignored=2, dropped=7)
    expected = DoneMessage(3, FOLLOW_UPS, True, 1500, 2, 7, [b"header", b"body"])
    assert unpack_from_worker([DONE, done, b"header", b"body"]) == expected


def test_what_the_broker_packs_is_unpacked() -> None:
    frames = [DISPATCH, pack_dispatch(3, "get", ASSIGNMENTS, IDS), b"one", b"two"]
    assert unpack_from_broker(frames) == DispatchMessage(3, "get", ASSIGNMENTS, IDS, [b"one", b"two"])
    assert unpack_from_broker([memoryview(frame) for frame in frames])[:4] == (3, "get", ASSIGNMENTS, IDS)
    assert unpack_from_broker([LEVEL, b"debug"]) == LevelMessage("debug")
    assert unpack_from_broker([STOP]) == StopMessage()


def done(*head: Any) -> list[bytes]:
    return [DONE, msgpack.packb(head)]


def follow_up(**changes: Any) -> list[bytes]:
    return done(1, [tuple({**FOLLOW_UPS[0]._asdict(), **changes}.values())], False, 0, 0, 0)


@pytest.mark.parametrize(
    "frames",
    [
        [],
        [b""],
        [b"X", b""],
        [DISPATCH, b""],
        [READY],
        [READY, b""],
        [READY, b"\xc1"],
        [READY, msgpack.packb(["read", 1])],
        [READY, msgpack.packb({"pool": "read"})],
        [READY, msgpack.packb({"pool": 5, "pid": 1})],
        [READY, msgpack.packb({"pool": "read", "pid": "1"})],
        [DONE],
        [DONE, b""],
        [DONE, b"\xc1"],
        done(1, [], False),
        done(1, [], False, 0, 0),
        done(1, [], False, 0, 0, 0, 0),
        done("1", [], False, 0, 0, 0),
        done(True, [], False, 0, 0, 0),
        done(1, [], 0, 0, 0, 0),
        done(1, [], False, -1, 0, 0),
        done(1, [], False, 0.5, 0, 0),
        done(1, [], False, 0, None, 0),
        done(1, [], False, 0, 0, True),
        done(1, None, False, 0, 0, 0),
        done(1, [None], False, 0, 0, 0),
        done(1, [[0, 0, "lock_children"]], False, 0, 0, 0),
        follow_up(request_index="0"),
        follow_up(item_index=None),
        follow_up(operation=["lock_children"]),
        follow_up(operation=b"lock_children"),
        follow_up(key=None),
        follow_up(key="key"),
        follow_up(weight=0),
        follow_up(weight="1"),
        follow_up(weight=True),
        follow_up(body=None),
    ],
)
def test_a_malformed_message_of_a_worker_raises_one_exception(frames: list[bytes]) -> None:
    with pytest.raises(WorkerWireError, match=r"."):
        unpack_from_worker(frames)


@pytest.mark.parametrize(
    "frames",
    [
        [],
        [b"X"],
        [READY, b""],
        [DONE, b""],
        [DISPATCH],
        [DISPATCH, b""],
        [DISPATCH, b"\xc1"],
        [DISPATCH, msgpack.packb([1, "get", []])],
        [DISPATCH, msgpack.packb(["1", "get", [], b""])],
        [DISPATCH, msgpack.packb([1, b"get", [], b""])],
        [DISPATCH, msgpack.packb([1, "get", None, b""])],
        [DISPATCH, msgpack.packb([1, "get", [], ""])],
        [DISPATCH, msgpack.packb([1, "get", [[7, 2]], bytes(16)]), b"body"],
        [DISPATCH, msgpack.packb([1, "get", [7], bytes(16)]), b"body"],
        [DISPATCH, pack_dispatch(1, "get", ASSIGNMENTS, IDS), b"one"],
        [DISPATCH, pack_dispatch(1, "get", ASSIGNMENTS, IDS), b"one", b"two", b"three"],
        [DISPATCH, pack_dispatch(1, "get", ASSIGNMENTS, IDS[:-1]), b"one", b"two"],
    ],
)
def test_a_malformed_message_of_the_broker_raises_one_exception(frames: list[bytes]) -> None:
    with pytest.raises(WorkerWireError, match=r"."):
        unpack_from_broker(frames)


@given(frames=messages)
def test_no_frames_raise_anything_else(frames: list[bytes]) -> None:
    for unpack in (unpack_from_worker, unpack_from_broker):
        with contextlib.suppress(WorkerWireError):
            unpack(frames)


@pytest.mark.parametrize("frames", [[LEVEL], [LEVEL, b"loud"], [LEVEL, b"\xff"], [LEVEL, 7]])
def test_a_level_that_is_none_is_named(frames: list[Any]) -> None:
    with pytest.raises(WorkerWireError, match=r"^LEVEL: "):
        unpack_from_broker(frames)
