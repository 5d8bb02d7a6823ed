"""The file of the administration socket: made, made anew where it was swept away, and what is another's is let be."""

import os
import socket
from pathlib import Path

import pytest

from tests.support.ordering import Line, Watched
from tests.support.patience import until


def test_where_its_name_is_taken_it_has_another(tmp_path: Path) -> None:
    """As the first process of each of two containers."""
    watched = Watched()
    first = watched.administration(tmp_path)
    second = watched.administration(tmp_path)
    assert len({first.path, second.path}) == 2
    assert len(watched) == 2
    for each in (first, second):
        each.close()
    assert watched == set()
    assert list(tmp_path.iterdir()) == []


def test_one_that_died_while_it_made_its_own_is_removed_where_the_next_has_its_pid(tmp_path: Path) -> None:
    """As each first process of a container has."""
    dying = tmp_path / f".admin-{os.getpid()}-00000000"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as never_listened:
        never_listened.bind(str(dying))
    administration = Watched().administration(tmp_path)
    assert [str(path) for path in tmp_path.iterdir()] == [administration.path]
    administration.close()


def test_what_somebody_has_put_in_its_place_is_not_removed(tmp_path: Path) -> None:
    administration = Watched().administration(tmp_path)
    path = Path(administration.path)
    another = tmp_path / "another"
    another.write_text("another's")
    another.rename(path)  # in one: what is not there is made anew meanwhile
    administration.close()
    assert path.read_text() == "another's"


@pytest.mark.parametrize("directory_too", [False, True])
def test_one_that_was_swept_away_is_made_anew_and_who_is_connected_notices_nothing(
    tmp_path: Path, directory_too: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.transport.administration._SILENCE_SECONDS", 600.0)
    watched = Watched()
    administration = watched.administration(tmp_path / "state")
    (listening,) = watched
    with Line(administration.path).socket as connected:
        assert list(administration.receive(listening)) == []
        before = set(watched)
        if directory_too:
            (tmp_path / "state").rename(tmp_path / "swept")  # in one, since what is not there is made anew meanwhile
        else:
            Path(administration.path).unlink()
        (newcomers,) = until(lambda: administration.tend() or watched - before)
        said = f"the socket for orders was not there, and is now: {administration.path}"
        until(lambda: said in caplog.text)
        with Line(administration.path).socket:
            assert list(administration.receive(newcomers)) == []
        connected.send(b"{}")
        asked = [order for each in watched & before for _, order in administration.receive(each)]
        assert asked == [{}]
    administration.close()
    assert watched == set()
    assert list((tmp_path / "state").iterdir()) == []


def test_where_it_can_not_be_made_that_is_said_once_and_it_is_made_when_it_can(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "state").write_text("no directory")
    administration = Watched().administration(tmp_path / "state")
    assert administration.path == ""
    (tmp_path / "state").unlink()
    until(lambda: administration.tend() or administration.path)
    assert os.path.exists(administration.path)
    assert caplog.text.count("no administration") == 1
    administration.close()
