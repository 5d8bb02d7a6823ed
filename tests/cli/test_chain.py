"""The active chain: chosen by work, with heights that are checked and not believed."""

import random
import sys

import pytest

from tests.support.blocks import EASY, HARDER, block, chain, coinbase, framed, hash_of, write
from utxod.block_files import scan
from utxod.chain import active_chain


@pytest.fixture
def chosen(tmp_path):
    """The chain of these blocks, as they lie in a file in this order, with its blocks raw."""

    def choose(blocks, first_height=None, bad=()):
        places = scan([write(tmp_path / "blk0.dat", framed(blocks))]).places
        refused = set(map(hash_of, bad))
        found = active_chain(
            {place.hash: place for place in places},
            first_height,
            lambda place: None if place.hash in refused else place,
        )
        return [(place.read(), height) for place, height in found.blocks], found

    return choose


def numbered(blocks, first=0):
    return [(raw, first + index) for index, raw in enumerate(blocks)]


def test_blocks_in_any_order_come_in_the_order_of_their_chain(chosen):
    blocks = chain(30)
    shuffled = random.Random(1).sample(blocks, len(blocks))
    ordered, found = chosen(shuffled, 100)
    assert ordered == numbered(blocks, 100)
    assert (found.stale, found.unconnected, found.on_bad) == (0, [], 0)


def test_the_branch_with_the_most_work_wins_over_a_longer_one_wherever_it_lies(chosen):
    trunk = chain(2)
    long = chain(5, hash_of(trunk[-1]), tag=10)
    heavy = chain(2, hash_of(trunk[-1]), tag=20, bits=HARDER)
    for blocks in (trunk + long + heavy, heavy + long + trunk):
        ordered, found = chosen(blocks)
        assert ordered == numbered(trunk + heavy)
        assert found.stale == len(long)
        assert found.unconnected == []


def test_of_equal_branches_that_counts_which_was_found_first(chosen):
    trunk = chain(2)
    first, second = chain(2, hash_of(trunk[-1]), tag=10), chain(2, hash_of(trunk[-1]), tag=20)
    assert chosen(trunk + first + second)[0] == numbered(trunk + first)
    assert chosen(trunk + second + first)[0] == numbered(trunk + second)


def test_what_stands_on_a_bad_block_is_no_chain_however_much_work_it_shows(chosen):
    trunk = chain(2)
    heavy, light = chain(3, hash_of(trunk[-1]), tag=10, bits=HARDER), chain(1, hash_of(trunk[-1]), tag=20)
    ordered, found = chosen(trunk + heavy + light, bad=heavy[:1])
    assert ordered == numbered(trunk + light)
    assert (found.stale, found.on_bad) == (0, 2)


def test_a_part_beside_the_chain_is_of_it_only_where_its_heights_are_known_and_are_no_others(chosen):
    trunk = chain(5)
    apart = block([coinbase(50, states=70)], b"\x11" * 32, version=2)
    rival = block([coinbase(51, states=3)], b"\x22" * 32, version=2)
    unknown = block([coinbase(52)], b"\x33" * 32)
    ordered, found = chosen([rival, unknown, apart, *trunk])
    assert ordered == [*numbered(trunk), (apart, 70)]
    assert [
        text.partition(": does not connect with the chain that has more work, ")[2] for text in found.unconnected
    ] == [
        "of the same heights",
        "and its height is not known: feed it by itself, with --height",
    ]
    assert found.stale == 0


@pytest.mark.parametrize("states", [999, 0, 2**32 - 1])
def test_a_height_that_contradicts_the_parents_is_refused_with_all_upon_it(chosen, states):
    trunk = chain(2)
    lying = block([coinbase(10, states=states)], hash_of(trunk[-1]), version=2, bits=HARDER)
    upon = chain(2, hash_of(lying), tag=20, bits=HARDER)
    true = block([coinbase(30, states=102)], hash_of(trunk[-1]), version=2)
    ordered, found = chosen([*trunk, lying, *upon, true], 100)
    assert ordered == numbered([*trunk, true], 100)
    (text,) = found.contradicting
    assert f"its coinbase states height {states}, and its parent's is 101" in text
    assert found.on_bad == 2


def test_a_height_that_only_a_later_block_states_counts_for_those_below(chosen):
    root, second = chain(2, b"\x11" * 32)
    third = block([coinbase(10, states=500)], hash_of(second), version=2)
    assert chosen([third, second, root])[0] == numbered([root, second, third], 498)


def test_before_bip_34_was_in_force_miners_of_the_main_chain_stated_what_they_liked(chosen, monkeypatch):
    root = block([coinbase(1)])
    free = block([coinbase(10, states=490_897)], hash_of(root), version=2)
    monkeypatch.setattr("utxod.chain._DIFFICULTY_1", 0x7FFFFF << 232)  # as if the blocks of a test were so much work
    assert chosen([root, free], 176_683)[0] == numbered([root, free], 176_683)
    assert chosen([root, free], 227_929)[0] == numbered([root, free], 227_929)
    assert chosen([root, free], 227_930)[0] == numbered([root], 227_930)


def test_a_long_chain_is_no_deep_recursion(chosen):
    blocks = chain(3_000, bits=EASY)
    assert chosen(blocks)[0] == numbered(blocks)


def stating(heights, previous, tag=0, **options):
    """Blocks one upon the other, each with what it states of its height."""
    blocks = []
    for index, height in enumerate(heights):
        blocks.append(block([coinbase(tag + index, states=height)], previous, version=2, **options))
        previous = hash_of(blocks[-1])
    return blocks


def test_one_block_that_states_a_false_height_does_not_decide_that_of_the_others(chosen):
    root = block([coinbase(1)], b"\x11" * 32)
    honest = stating(range(200_101, 200_106), hash_of(root), tag=10)
    aside = stating([900_000], hash_of(root), tag=20)
    ordered, found = chosen([root, *aside, *honest])
    assert ordered == numbered([root, *honest], 200_100)
    assert (found.stale, found.contradicting, found.on_bad) == (1, [], 0)
    last = stating([900_000], hash_of(honest[-1]), tag=30)
    ordered, found = chosen([*last, *honest, root])
    assert ordered == numbered([root, *honest], 200_100)
    assert "its coinbase states height 900000, and its parent's is 200105" in found.contradicting[0]


def test_a_bad_block_has_no_vote_on_the_height(chosen):
    root = block([coinbase(1)], b"\x11" * 32)
    bad = stating(range(900_000, 900_009), hash_of(root), tag=10)
    honest = stating(range(200_101, 200_103), hash_of(root), tag=30)
    ordered, found = chosen([root, *bad, *honest], bad=bad[:1])
    assert ordered == numbered([root, *honest], 200_100)
    assert (found.contradicting, found.on_bad) == ([], 8)


def test_a_first_block_that_states_a_false_height_is_refused_where_it_had_to_state_the_true_one(chosen, monkeypatch):
    (root,) = stating([900_000], b"\x11" * 32)
    upon = stating(range(200_101, 200_106), hash_of(root), tag=10)
    ordered, found = chosen([root, *upon])
    assert (ordered, found.on_bad) == ([], 5)
    (text,) = found.contradicting
    assert text.endswith("its coinbase states height 900000, and most blocks upon it say that it is 200100")
    monkeypatch.setattr("utxod.chain._DIFFICULTY_1", 0x7FFFFF << 232)  # as if the blocks of a test were so much work
    assert chosen([root, *upon])[0] == numbered([root, *upon], 200_100)


def test_of_as_many_votes_on_the_height_those_nearest_to_the_first_block_win(chosen):
    (root,) = stating([500], b"\x11" * 32)
    upon = stating([700, 701], hash_of(root), tag=10)
    assert chosen([*upon[:1], root])[0] == numbered([root], 500)
    first, second, third, fourth = stating([500, 701, 702, 503], b"\x11" * 32)
    assert chosen([fourth, third, second, first])[0] == numbered([first], 500)


def lines_run(act):
    """How many lines of the chain's module that takes: its work, whatever the machine does besides."""
    count = 0

    def trace(frame, event, argument):
        nonlocal count
        count += event == "line"
        return trace if frame.f_code.co_filename == active_chain.__code__.co_filename else None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        act()
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("rivals", ["bad", "of false heights", "apart"])
def test_the_work_to_choose_the_chain_grows_as_the_number_of_rivals_does(tmp_path, rivals):
    trunk = stating(range(50), b"\x11" * 32)
    tip = hash_of(trunk[-1])

    def work(number):
        made = []
        for index in range(number):
            previous = tip if rivals != "apart" else index.to_bytes(32, "little")
            states = {"bad": 50, "of false heights": 9_000, "apart": 100 + index}[rivals]
            made.append(block([coinbase(100 + index, states=states)], previous, version=2))
        found = {place.hash: place for place in scan([write(tmp_path / "blk0.dat", framed([*trunk, *made]))]).places}
        bad = set(map(hash_of, made)) if rivals == "bad" else ()
        asked = []

        def checked(place):
            asked.append(place.hash)
            return None if place.hash in bad else place

        chosen = []
        lines = lines_run(lambda: chosen.append(active_chain(found, None, checked)))
        assert len(chosen[0].blocks) == 50 + (number if rivals == "apart" else 0)
        assert len(asked) <= 2 * len(found)
        return lines

    few, many = work(50), work(400)
    assert many < 8 * few
