"""The compiled decoder and the checks item by item take the same items, and no bytes make either of them costly."""

import random
import tracemalloc
from collections.abc import Sequence
from typing import Any

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocol import wire
from tests.workers.test_bad_items import GOOD, WRONG
from workers.runtime.item_checks import MAX_UINT32, BadItem
from workers.runtime.item_shape import (
    Field,
    Shape,
    array_field,
    boolean_field,
    bytes_field,
    flags_field,
    integer_field,
    map_field,
    optional_field,
    string_field,
    tuple_field,
    uint_field,
)
from workers.runtime.operations import OPERATION_BY_NAME

SHAPES = {name: operation.shape for name, operation in OPERATION_BY_NAME.items() if operation.shape is not None}
INTEGERS = st.one_of(
    st.integers(-(1 << 63), (1 << 64) - 1),
    *[st.integers((1 << bits) - 2, (1 << bits) + 2) for bits in (8, 16, 25, 31, 32, 53)],
    st.integers(-(1 << 31) - 2, -(1 << 31) + 2),
    st.integers(-2, 5),
)
BYTES = st.one_of(st.binary(max_size=40), st.sampled_from([size * b"x" for size in (31, 32, 33, 36)]))
SCALARS = st.one_of(st.none(), st.booleans(), INTEGERS, st.floats(), st.text("ab\u00e9\U0001f600", max_size=17), BYTES)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SCALARS, inner, max_size=2))
NAMES = st.lists(st.sampled_from(["", "fee", "tx", "x" * 15, "x" * 16, "é" * 15, b"fee"]), max_size=66)
NOTES = st.lists(st.lists(INTEGERS, min_size=2, max_size=2), max_size=3)
BLOCKS = st.lists(st.lists(INTEGERS, min_size=3, max_size=3), max_size=3)
OUTPUTS = st.dictionaries(INTEGERS, st.tuples(INTEGERS, BYTES).map(list), max_size=3)
PARTIAL = st.tuples(BYTES, OUTPUTS).map(list)


def is_good(shape: Shape, item: Any) -> bool:
    try:
        shape.check(item)
    except BadItem:
        return False
    return True


def listed(value: Any) -> Any:
    """As MessagePack's own decoder gives it."""
    if isinstance(value, dict):
        return {key: listed(inner) for key, inner in value.items()}
    return [listed(inner) for inner in value] if isinstance(value, list | tuple) else value


def agree(shape: Shape, body: bytes, items: Sequence[Any]) -> None:
    decoded = shape.decode(body, len(items))
    assert (decoded is not None) == all(is_good(shape, item) for item in items), items
    assert decoded is None or repr(listed(decoded)) == repr(items)


@pytest.mark.parametrize("operation", SHAPES)
def test_every_wrong_value_is_refused_by_both(operation: str) -> None:
    shape, good = SHAPES[operation], GOOD[operation]
    agree(shape, wire.pack_body([good]), [good])
    for wrong in WRONG[operation]:
        for value in wrong.values:
            item = [*good[: wrong.field], value, *good[wrong.field + 1 :]]
            agree(shape, wire.pack_body([good, item]), [good, item])
            assert not is_good(shape, item)


EDGES: list[tuple[Field, list[Any], list[Any]]] = [
    (integer_field("n", -3, 9), [-3, 9], [-4, 10]),
    (uint_field("n"), [0, MAX_UINT32], [-1, MAX_UINT32 + 1]),
    (flags_field(3), [0, 3], [-1, 4]),
    (bytes_field("b", 5), [b"12345"], [b"1234", b"123456"]),
    (string_field("s", 1, 2), ["é", "éé"], ["", "ééé"]),
    (array_field("a", boolean_field("e"), 1, 2), [[True], [True, False]], [[], [True] * 3, ["x"]]),
    (map_field("m", uint_field("k", 1), boolean_field("v")), [{}, {0: True, 1: False}], [{2: True}, {0: 0}]),
    (tuple_field("t", uint_field("n", 1), boolean_field("v")), [[1, True]], [[2, True], [1], [1, True, 0]]),
    (optional_field(uint_field("n", 1)), [None, 0, 1], [2, -1]),
]


@pytest.mark.parametrize(("field", "taken", "refused"), EDGES)
def test_a_field_s_bounds_are_the_same_in_both(field: Field, taken: list[Any], refused: list[Any]) -> None:
    shape = Shape(field)
    for value in (*taken, *refused):
        agree(shape, wire.pack_body([[value]]), [[value]])
        assert is_good(shape, [value]) == (value in taken)


@pytest.mark.parametrize("operation", SHAPES)
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_both_take_the_same_items(operation: str, data: st.DataObject) -> None:
    good = GOOD[operation]
    item = [*good]
    for field in data.draw(st.sets(st.integers(0, len(good) - 1), max_size=2)):
        item[field] = data.draw(st.one_of(VALUES, NAMES, NOTES, BLOCKS, PARTIAL))
    length = data.draw(st.sampled_from([len(good)] * 8 + [len(good) - 1]))
    agree(SHAPES[operation], wire.pack_body([item[:length], good]), [item[:length], good])


@pytest.mark.parametrize("operation", SHAPES)
def test_what_the_compiled_decoder_takes_is_what_messagepack_reads(operation: str) -> None:
    """Bodies with some bytes changed: other encodings, other lengths, what is no MessagePack at all."""
    shape, chance = SHAPES[operation], random.Random(operation)
    body = wire.pack_body([GOOD[operation]] * 3)
    taken = 0
    for _ in range(5_000):
        spoiled = bytearray(body)
        for _ in range(chance.choice([1, 1, 2])):
            spoiled[chance.randrange(len(spoiled))] = chance.choice([chance.randrange(256), *range(0xC0, 0xE0)])
        decoded = shape.decode(spoiled, None)
        if decoded is not None:
            taken += 1
            items = wire.unpack_body(bytes(spoiled), None)
            assert listed(decoded) == items
            assert all(is_good(shape, item) for item in items)
    assert taken


@pytest.mark.parametrize("operation", SHAPES)
def test_wider_encodings_of_a_number_are_the_same_number(operation: str) -> None:
    """A client need not choose the shortest one."""
    packer = msgpack.Packer()
    for item in (GOOD[operation], [*GOOD[operation][:-1], 7]):
        body = packer.pack_array_header(1) + packer.pack_array_header(len(item))
        body += b"".join(
            b"\xcf" + value.to_bytes(8) if type(value) is int and value >= 0 else msgpack.packb(value) for value in item
        )
        agree(SHAPES[operation], body, [item])


@pytest.mark.parametrize("header", [b"\xdd\xff\xff\xff\xff", b"\xdc\xff\xff", b"\x9f"])
@pytest.mark.parametrize("operation", SHAPES)
def test_lengths_that_a_body_only_claims_cost_nothing(operation: str, header: bytes) -> None:
    """At the top, in place of an item, of each of its fields, and of what is in them; and nested without end."""
    shape, good = SHAPES[operation], GOOD[operation]
    packed = [msgpack.packb(value) for value in good]
    array = msgpack.Packer().pack_array_header
    bodies = [header, array(1) + header, header * 10_000, array(1) * 10_000]
    bodies += [array(1) + array(len(good)) + b"".join(packed[:field]) + header for field in range(len(good))]
    bodies += [body[:-1] + head + b"\xff" * 4 for body in bodies for head in (b"\xc6", b"\xdb", b"\xdf", b"\xc9")]
    bodies += [array(1) + array(len(good)) + packed[0] + array(1) + header]
    tracemalloc.start()
    for body in bodies:
        assert shape.decode(body, None) is None
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 1 << 20
