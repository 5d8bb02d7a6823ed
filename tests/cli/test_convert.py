"""utxod convert: whoever meets a set of an older version is told this command, and it does what was said."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from store import open_store
from store.lmdb.conversion import Conversion
from tests.support.old_sets import SETTINGS, bins_of, build, kept_records, lose_settings, put, read_all
from utxod.commands import cli

MINE = b"\xa1" * 32


def utxod(*arguments: str) -> Any:
    return CliRunner().invoke(cli, arguments)


def command_in(output: str) -> list[str]:
    """The command that a message tells."""
    told = " ".join(output.split())
    return told[told.index("utxod convert") :].split()[1:4]


@pytest.mark.parametrize("layout", SETTINGS)
@pytest.mark.parametrize("asked", [["doctor"], ["leftovers", "ab" * 32]])
def test_the_command_that_a_refusal_tells_converts_the_set(tmp_path: Path, layout: int, asked: list[str]) -> None:
    url = build(tmp_path / "set", layout)
    refused = utxod(*asked, "--store", url)
    assert refused.exit_code == 1
    converted = utxod(*command_in(refused.output))
    assert (converted.exit_code, converted.output) == (0, f"{len(bins_of(layout))} records converted\n")
    store = open_store(url)
    assert read_all(store, layout) == bins_of(layout)
    store.close()
    assert "its layout" not in utxod("doctor", "--store", url).output


def test_asked_again_it_says_that_there_is_nothing_to_do(tmp_path: Path) -> None:
    url = build(tmp_path / "set", 2)
    assert utxod("convert", "--store", url).exit_code == 0
    again = utxod("convert", "--store", url)
    assert (again.exit_code, "nothing to convert" in again.output) == (0, True)


def test_interrupted_it_says_how_far_it_came_and_goes_on_when_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = build(tmp_path / "set", 2)
    step = Conversion._step

    def one_step(conversion: Conversion) -> int:
        if conversion.done:
            raise KeyboardInterrupt
        return step(conversion)

    with monkeypatch.context() as patched:
        patched.setattr(Conversion, "_step", one_step)
        interrupted = utxod("convert", "--store", url)
    assert interrupted.exit_code != 0
    total = len(bins_of(2))
    assert f"{total} of {total} records are converted; asked again, it goes on" in interrupted.output
    assert "utxod convert" in " ".join(utxod("doctor", "--store", url).output.split())
    assert utxod("convert", "--store", url).output == f"{total} records converted\n"


def test_a_damaged_record_is_named_and_left_where_that_is_asked_for(tmp_path: Path) -> None:
    url = build(tmp_path / "set", 2)
    damaged = kept_records(tmp_path / "set")[MINE][:-1]
    put(tmp_path / "set", {MINE: damaged})
    refused = utxod("convert", "--store", url)
    assert (refused.exit_code, MINE.hex() in refused.output) == (1, True)
    assert "--keep-damaged" in refused.output
    kept = utxod("convert", "--store", url, "--keep-damaged")
    assert (kept.exit_code, f"{MINE.hex()} is damaged" in kept.output) == (0, True)
    assert kept_records(tmp_path / "set")[MINE] == damaged


def test_lost_settings_are_adopted_as_each_answer_tells(tmp_path: Path) -> None:
    """None of them sends to another that sends back."""
    url = build(tmp_path / "set", 2)
    lose_settings(tmp_path / "set")
    before = kept_records(tmp_path / "set")
    for asked in ("doctor", "convert"):
        told = " ".join(utxod(asked, "--store", url).output.split())
        assert "Name its utxo_batch_size" in told
        assert "adopt=true" in told
        assert "aerospike" not in told
    named = f"{url}?utxo_batch_size=4&genesis_height=100&adopt=true"
    told = " ".join(utxod("doctor", "--store", named).output.split())
    assert "`utxod convert`, if an older version wrote it" in told
    assert kept_records(tmp_path / "set") == before
    converted = utxod("convert", "--store", named)
    assert (converted.exit_code, converted.output) == (0, f"{len(before)} records converted\n")
    store = open_store(url)
    assert (read_all(store, 2), store.utxo_batch_size, store.genesis_height) == (bins_of(2), 4, 100)
    store.close()


def test_what_has_no_records_key_is_named_as_that(tmp_path: Path) -> None:
    url = build(tmp_path / "set", 2)
    put(tmp_path / "set", {b"k" * 33: b"foreign"})
    name = (b"k" * 33).hex()
    refused = utxod("convert", "--store", url)
    assert (refused.exit_code, f"key {name} is no record's key" in refused.output) == (1, True)
    kept = utxod("convert", "--store", url, "--keep-damaged")
    assert (kept.exit_code, f"{name} is no record's key, and was left" in kept.output) == (0, True)


@pytest.mark.parametrize("url", ["null:", "lmdb:relative", "lmdb:///nowhere/at/all?mapsize=1"])
def test_what_is_no_embedded_set_is_refused(url: str) -> None:
    refused = utxod("convert", "--store", url)
    assert (refused.exit_code, "Error: store URL:" in refused.output) == (1, True)
