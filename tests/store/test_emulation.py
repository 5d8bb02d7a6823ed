"""What a rule may rely on in Aerospike's Lua, probed in the emulation. A probe is a rule of its own; the same probes
can be run inside a server."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.lua import LuaError, Rules

Probe = Callable[..., tuple[Any, dict[str, Any]]]
Load = Callable[[bytes], Rules]


@pytest.fixture
def probe(load_rules: Load) -> Probe:
    """Runs a rule with this body on a record (an empty one by default): its result, and what it saved."""

    def run(body: str, *args: Any, bins: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        rules = load_rules(f"function probe(rec, a, b) {body} end".encode())
        return rules.call("probe", args, {} if bins is None else bins)

    return run


def test_a_bin_is_handed_out_as_a_cached_reference(probe: Probe) -> None:
    result, _ = probe("rec['l'][1] = 7; return rec['l'][1]", bins={"l": [1, 2]})
    assert result == 7


def test_only_a_bin_that_is_assigned_is_saved(probe: Probe) -> None:
    in_place = "local l = rec['l']; l[1] = 7;"
    assert probe(in_place + "aerospike:update(rec)", bins={"l": [1, 2]})[1] == {}
    assert probe(in_place + "rec['l'] = l; aerospike:update(rec)", bins={"l": [1, 2]})[1] == {"l": [7, 2]}


def test_an_assigned_bin_that_is_not_updated_is_not_saved(probe: Probe) -> None:
    assert probe("rec['x'] = 1") == (None, {})


def test_a_change_between_assignment_and_update_is_saved_and_one_after_it_is_not(probe: Probe) -> None:
    body = "local l = rec['l']; rec['l'] = l; l[1] = 7; aerospike:update(rec); l[2] = 8"
    assert probe(body, bins={"l": [1, 2]})[1] == {"l": [7, 2]}


def test_a_bin_assigned_nil_is_removed(probe: Probe) -> None:
    result, saved = probe("rec['x'] = nil; aerospike:update(rec); return rec['x'] == nil", bins={"x": 1})
    assert (result, saved) == (True, {"x": None})


def test_a_bin_cannot_hold_a_table(probe: Probe) -> None:
    with pytest.raises(LuaError, match="unsupported type"):
        probe("rec['x'] = {}")


def test_a_map_stores_nil(probe: Probe) -> None:
    body = "local m = map(); m['k'] = nil; local n = 0; for k in map.pairs(m) do n = n + 1 end; m['n'] = n; return m"
    assert probe(body)[0] == {"k": None, "n": 1}
    assert probe("return map.size(a)", {"k": None})[0] == 1
    assert probe("return a['k'] == nil", {"k": None})[0] is True


def test_a_nil_key_is_dropped_silently(probe: Probe) -> None:
    assert probe("local m = map(); m[nil] = 1; return m")[0] == {}


def test_a_map_can_hold_any_key_that_the_emulation_uses_itself(probe: Probe) -> None:
    names = ["items", "size", "content", "source", "at"]
    body = "for i = 1, list.size(a) do rec[a[i]] = i end; aerospike:update(rec)"
    assert probe(body, names)[1] == {name: index + 1 for index, name in enumerate(names)}
    body = "local m = map(); for i = 1, list.size(a) do m[a[i]] = i end; return m"
    assert probe(body, names)[0] == {name: index + 1 for index, name in enumerate(names)}


def test_a_removed_key_is_gone(probe: Probe) -> None:
    assert probe("map.remove(a, 'k'); return a", {"k": 1, "l": 2})[0] == {"l": 2}


def test_a_lists_iterator_stops_at_the_first_none(probe: Probe) -> None:
    body = "local n = 0; for x in list.iterator(a) do n = n + 1 end; return n"
    assert probe(body, [1, 2, None, 4])[0] == 2


def test_assigning_past_the_end_of_a_list_pads_it(probe: Probe) -> None:
    assert probe("a[4] = 'x'; return a", [1])[0] == [1, None, None, "x"]
    assert probe("a[0] = 'x'; return a", [1])[0] == [1]


def test_reading_outside_a_list_gives_nil(probe: Probe) -> None:
    assert probe("return a[0] == nil and a[3] == nil and a[-1] == nil", [1, 2])[0] is True


def test_a_lists_element_can_be_appended_and_removed(probe: Probe) -> None:
    assert probe("list.append(a, 'x'); list.remove(a, 2); list.remove(a, 9); return a", [1, b"2", None])[0] == [
        1,
        None,
        "x",
    ]
    assert probe("list.remove(a, 1); list.append(a, 4); return a", [b"1", b"2", b"3"])[0] == [b"2", b"3", 4]


def test_a_list_can_be_trimmed(probe: Probe) -> None:
    assert probe("list.trim(a, 2); return a", [b"1", 2, 3])[0] == [b"1"]
    assert probe("list.trim(a, 1); list.append(a, b); return a", [b"1", b"2"], 7)[0] == [7]
    assert probe("list.trim(a, 0); list.trim(a, 3); return a", [1, 2])[0] == [1, 2]
    assert probe("local x = a[2]; list.trim(a, 2); return a[2] == nil and a[3] == nil", [b"1", b"2", 3])[0] is True


def test_bytes_in_a_list_can_be_changed_in_place(probe: Probe) -> None:
    body = "local l = rec['l']; bytes.append_string(l[2], 'yz'); rec['l'] = l; aerospike:update(rec); return l[2]"
    assert probe(body, bins={"l": [b"a", b"x", b"b"]}) == (b"xyz", {"l": [b"a", b"xyz", b"b"]})


def test_what_a_list_loses_after_the_update_is_saved_all_the_same(probe: Probe) -> None:
    body = "local l = rec['l']; l[1] = 7; rec['l'] = l; aerospike:update(rec); list.trim(l, 1)"
    assert probe(body, bins={"l": [1, b"2"]})[1] == {"l": [7, b"2"]}


def test_equality_of_bytes_is_identity(probe: Probe) -> None:
    assert probe("return a == b", b"same", b"same")[0] is False
    assert probe("return a == a", b"same")[0] is True


def test_new_bytes_have_size_0_until_written(probe: Probe) -> None:
    body = "local x = bytes(36); local before = bytes.size(x); bytes.set_bytes(x, 1, a, 4); return before"
    assert probe(body, b"abcd")[0] == 0
    assert probe("local x = bytes(36); bytes.set_bytes(x, 1, a, 3); return bytes.size(x)", b"abcd")[0] == 3


def test_bytes_are_written_in_place_and_past_their_end(probe: Probe) -> None:
    assert probe("bytes.set_bytes(a, 3, b, 2); return a", b"123456", b"xyz")[0] == b"12xy56"
    padded = probe("bytes.set_string(a, 5, 'xy'); return a", b"12")[0]
    assert (len(padded), padded[:2], padded[4:]) == (6, b"12", b"xy")  # what a server leaves between is not defined
    assert probe("bytes.append_bytes(a, b, 2); return a", b"12", b"xyz")[0] == b"12xy"


def test_bytes_give_their_parts_binary_safe(probe: Probe) -> None:
    assert probe("return bytes.get_bytes(a, 2, 3)", b"a\0\xff\0b")[0] == b"\0\xff\0"
    assert probe("return #bytes.get_string(a, 1, 5)", b"a\0\xff\0b")[0] == 5


def test_a_part_in_the_middle_of_bytes_is_changed_and_saved_with_its_bin(probe: Probe) -> None:
    body = "local x = rec['x']; bytes.set_string(x, 3, 'ab'); rec['x'] = x; aerospike:update(rec); return bytes.size(x)"
    assert probe(body, bins={"x": b"1234567"}) == (7, {"x": b"12ab567"})
    assert probe(body.replace("3, 'ab'", "6, 'ab'"), bins={"x": b"1234567"}) == (7, {"x": b"12345ab"})
    in_place = "bytes.set_string(rec['x'], 3, 'ab'); aerospike:update(rec)"
    assert probe(in_place, bins={"x": b"1234567"})[1] == {}


def test_several_parts_of_bytes_are_changed_one_after_the_other(probe: Probe) -> None:
    body = (
        "local x = rec['x']; for i = 1, list.size(a), 2 do"
        " bytes.set_string(x, 2 * a[i] - 1, string.pack('<I2', a[i + 1])) end; rec['x'] = x;"
        " aerospike:update(rec); return (string.unpack('<I2', bytes.get_string(x, 3, 2)))"
    )
    result, saved = probe(body, [3, 0xFFFF, 2, 0x0102, 3, 7], bins={"x": b"\0\xff" * 3})
    assert (result, saved) == (0x0102, {"x": b"\0\xff\2\1\7\0"})


def test_long_bytes_are_made_of_a_string_and_kept_in_a_bin(probe: Probe) -> None:
    body = "local x = bytes(a); bytes.set_string(x, 1, string.rep(b, a // 2)); rec['x'] = x; aerospike:update(rec)"
    for size in (2, 250, 70_000):
        assert probe(body.replace("b,", r"'\0\255',"), size)[1] == {"x": b"\0\xff" * (size // 2)}


def test_a_bin_of_bytes_is_removed_and_others_stay(probe: Probe) -> None:
    body = "local x = rec['x']; rec['x'] = nil; rec['n'] = 1; aerospike:update(rec); return rec['x'] == nil"
    assert probe(body, bins={"x": b"1234", "y": b"5"}) == (True, {"x": None, "n": 1})


def test_a_list_is_made_of_what_stands_in_its_braces(probe: Probe) -> None:
    assert probe("return list { a, b }", 7, b"bytes\0")[0] == [7, b"bytes\0"]
    assert probe("return list { 1, 2 }")[0] == [1, 2]
    assert probe("local l = list { 0, 5 }; return l[1] + l[2]")[0] == 5
    assert probe("return list.size(list { a, b })", 1, b"")[0] == 2


def test_a_map_in_a_bin_keeps_lists_by_number(probe: Probe) -> None:
    """joined, and reassigned: with bytes of the arguments in it."""
    body = (
        "local m = rec['m'] or map(); m[a] = list { a + 1, b }; rec['m'] = m; aerospike:update(rec);"
        " return m[a][1] + list.size(m[a])"
    )
    assert probe(body, 0, b"\x51\0") == (3, {"m": {0: [1, b"\x51\0"]}})
    before = {0: [1, b""], 70_000: [2, b"x"]}
    assert probe(body, 70_000, b"y", bins={"m": before}) == (70_003, {"m": {0: [1, b""], 70_000: [70_001, b"y"]}})


def test_a_map_in_a_map_is_given_back(probe: Probe) -> None:
    body = "local m = map(); m[a] = map.create(8); m[a]['code'] = 'X'; m['l'] = map(); m['l'][10] = 3; return m"
    assert probe(body, 10)[0] == {10: {"code": "X"}, "l": {10: 3}}


def test_a_list_of_a_bin_is_handed_out_after_the_record_was_saved(probe: Probe) -> None:
    body = (
        "local r, l = map(), rec['l'] or list(); list.append(l, a); rec['l'] = l; r['l'] = l;"
        " aerospike:update(rec); return r"
    )
    assert probe(body, 7, bins={"l": [1]}) == ({"l": [1, 7]}, {"l": [1, 7]})
    assert probe(body, 7) == ({"l": [7]}, {"l": [7]})


def test_a_list_of_lists_is_read_by_index(probe: Probe) -> None:
    body = "local n = 0; for i = 1, list.size(a) do n = n + a[i][1] * a[i][2] end; return n"
    assert probe(body, [[1, 10], [2, 20]])[0] == 50
    assert probe("return a[1][3] == nil and math.type(a[1][1]) == 'integer' and math.type(a[1][2]) == nil", [[1, "x"]])[
        0
    ]
    others: list[Any] = [[7], [None], [True], {}, 7, None, "text"]
    for value in others:
        assert probe("return (pcall(function() return list.size(a) + a[1][1] end))", value)[0] is False


def test_numbers_are_packed_and_unpacked_as_strings(probe: Probe) -> None:
    for number in (0, 1, 255, 256, 65535):
        body = "local s = string.pack('<I2', a); local n = string.unpack('<I2', s); return #s == 2 and n == a"
        assert probe(body, number)[0] is True
    assert probe("return (string.unpack('<I2', bytes.get_string(a, 3, 2)))", b"\0\0\1\2")[0] == 0x0201
    assert probe("return (pcall(string.pack, '<I2', a))", 65536)[0] is False


def test_whole_numbers_are_divided_and_their_rests_taken(probe: Probe) -> None:
    for expression, expected in (("a // 2", 32768), ("(a - b) % a", 65533), ("(b - a) % a", 3), ("(-1) % 2", 1)):
        assert probe(f"return {expression}", 65536, 3)[0] == expected
        assert probe(f"return math.type({expression})", 65536, 3)[0] == "integer"
    assert repr(probe("return math.max(a, b)", 65536, 3)[0]) == "65536"


def test_a_plain_table_is_walked_by_its_pairs(probe: Probe) -> None:
    body = (
        "local t, n = {}, 0; for i = 1, list.size(a) do t[a[i]] = i end;"
        " for k, v in pairs(t) do n = n + k * v end; return n"
    )
    assert probe(body, [3, 70_000, 3])[0] == 9 + 140_000


def test_a_function_takes_and_gives_any_number_of_values(probe: Probe) -> None:
    body = (
        "local function try(f, ...) local ok, x, y = pcall(f, ...); if ok then return x, y end; return nil, 'no' end;"
        " local x, y = try(function(p, q) return q, p end, a, b); local _, z = try(bytes.size, 7);"
        " local r = list(); list.append(r, x); list.append(r, y); list.append(r, z); return r"
    )
    assert probe(body, 1, 2)[0] == [2, 1, "no"]


def test_in_the_emulation_nothing_is_read_past_the_end_of_bytes() -> None:
    """A server does not check: a rule that tried would read its memory."""
    for function in ("get_string", "get_bytes"):
        rules = Rules(f"function probe(rec, a, i, n) return #bytes.{function}(a, i, n) end".encode())
        for position, length in ((1, 5), (5, 1), (0, 1), (1, -1)):
            with pytest.raises(LuaError, match="outside of bytes"):
                rules.call("probe", (b"1234", position, length), {})
        assert rules.call("probe", (b"1234", 3, 2), {})[0] == 2


def test_numbers_in_bytes_are_signed_and_big_endian_unless_named_otherwise(probe: Probe) -> None:
    data = bytes(range(0xF8, 0x100))
    for expression, expected in (
        ("bytes.get_byte(a, 1)", 0xF8),
        ("bytes.get_int16(a, 1)", int.from_bytes(data[:2], "big", signed=True)),
        ("bytes.get_int32_le(a, 2)", int.from_bytes(data[1:5], "little", signed=True)),
        ("bytes.get_int64_be(a, 1)", int.from_bytes(data, "big", signed=True)),
        ("bytes.get_int64_le(a, 1)", int.from_bytes(data, "little", signed=True)),
        ("bytes.get_int64_le(a, 2)", None),
        ("bytes.get_byte(a, 0)", None),
    ):
        assert probe(f"return {expression}", data)[0] == expected
    assert probe("bytes.set_int32_be(a, 1, -2); return a", b"")[0] == b"\xff\xff\xff\xfe"


def test_a_function_of_bytes_raises_for_anything_else(probe: Probe) -> None:
    others: list[Any] = [None, 1, "text", [1], {}]
    for value in others:
        assert probe("return (pcall(bytes.size, a))", value)[0] is False
        assert probe("return (pcall(bytes.get_string, a, 1, 1))", value)[0] is False


def test_a_division_is_a_float_and_stays_one_in_a_bin(probe: Probe) -> None:
    _, saved = probe("rec['x'] = 10 / 2; aerospike:update(rec)")
    assert repr(saved["x"]) == "5.0"
    result, _ = probe("return math.type(rec['x'])", bins={"x": 5.0})
    assert result == "float"


def test_a_record_that_does_not_exist_can_be_created_once(load_rules: Load) -> None:
    rules = load_rules(
        b"function probe(rec) local r = list(); list.append(r, aerospike:exists(rec)); rec['x'] = 1;"
        b" list.append(r, aerospike:update(rec)); list.append(r, aerospike:create(rec));"
        b" list.append(r, aerospike:create(rec)); list.append(r, aerospike:exists(rec)); return r end"
    )
    assert rules.call("probe", (), None) == ([False, -2, 0, 1, True], {"x": 1})


def test_in_the_emulation_a_rule_finds_no_way_out_of_its_sandbox() -> None:
    for name in ("io", "os", "python", "load", "require", "debug", "getmetatable", "setmetatable", "_G"):
        assert Rules(f"function lacks() return {name} == nil end".encode()).call("lacks", (), {})[0] is True


def test_an_unknown_rule_is_an_error() -> None:
    for name in ("nosuch", "pcall", "list"):
        with pytest.raises(LuaError, match="no rule has the name"):
            Rules().call(name, (), {})


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"))  # a server takes a NUL for a string's end
scalars = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | texts | st.binary()
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=20) | st.dictionaries(texts | st.integers(-(2**63), 2**63 - 1), inner, max_size=20)
    ),
    max_leaves=40,
)


def test_any_value_goes_in_and_out_unchanged(load_rules: Load) -> None:
    rules = load_rules(b"function echo(rec, a) rec['x'] = a; aerospike:update(rec); return a end")

    @given(values)
    def check(value: Any) -> None:
        result, saved = rules.call("echo", (value,), {})
        assert repr_sorted(result) == repr_sorted(value)
        assert repr_sorted(saved.get("x")) == repr_sorted(value)

    check()


def test_a_list_that_was_touched_is_written_as_it_was(load_rules: Load) -> None:
    touch = (
        b"function touch(rec, i) local l = rec['l']; local x = l[i]; l[i] = x; rec['l'] = l; aerospike:update(rec) end"
    )
    rules = load_rules(touch)

    @given(st.lists(scalars, max_size=30), st.data())
    def check(items: list[Any], data: st.DataObject) -> None:
        index = data.draw(st.integers(1, len(items) + 1))
        _, saved = rules.call("touch", (index,), {"l": items})
        assert saved.get("l", items) == (items if index <= len(items) else [*items, None])

    check()


def test_every_bin_is_found_whatever_stands_before_it(load_rules: Load) -> None:
    rules = load_rules(b"function read(rec, name) return rec[name] end")
    names = st.text(st.characters(codec="ascii", exclude_characters="\0"), min_size=1, max_size=15)

    @given(st.dictionaries(names, values, max_size=40), st.data())
    def check(bins: dict[str, Any], data: st.DataObject) -> None:
        name = data.draw(st.sampled_from([*bins, "nosuch"]))
        result, _ = rules.call("read", (name,), bins)
        assert repr_sorted(result) == repr_sorted(bins.get(name))

    check()


def repr_sorted(value: Any) -> str:
    """Tells 5 from 5.0 and True from 1, but not the order of a map."""
    if isinstance(value, dict):
        return "{" + ", ".join(sorted(f"{key!r}: {repr_sorted(item)}" for key, item in value.items())) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(repr_sorted(item) for item in value) + "]"
    return repr(value)
