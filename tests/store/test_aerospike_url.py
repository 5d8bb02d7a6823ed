"""The URL of a set in Aerospike, without a server."""

from pathlib import Path
from urllib.parse import parse_qsl

import pytest

from store import open_store
from store.aerospike.url import AerospikeUrl, parse_aerospike_url
from store.layout import GENESIS_NEVER
from store.opening import split_url
from store.set_settings import WantedSettings


def parse(url: str) -> AerospikeUrl:
    parts = split_url(url)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    settings = parse_aerospike_url(parts, options)
    assert options == {}
    return settings


def test_hosts_namespace_and_set() -> None:
    settings = parse("aerospike://one,two:4000,[::1]:5000/coins?set=main&read_retries=0&utxo_batch_size=64")
    assert settings.hosts == (("one", 3000), ("two", 4000), ("::1", 5000))
    assert (settings.namespace, settings.set) == ("coins", "main")
    assert (settings.read_retries, settings.wanted) == (0, WantedSettings(64))
    assert str(settings) == "aerospike://one:3000,two:4000,[::1]:5000/coins?set=main"
    assert parse("aerospike://one/coins").set == "utxo"


def test_what_is_fixed_for_the_life_of_a_set() -> None:
    assert parse("aerospike://one/coins").wanted == WantedSettings(None, None, adopt=False)
    assert parse("aerospike://one/coins?genesis_height=0").wanted == WantedSettings(None, 0)
    settings = parse("aerospike://one/coins?genesis_height=never&utxo_batch_size=64&adopt=true")
    assert settings.wanted == WantedSettings(64, GENESIS_NEVER, adopt=True)


def test_a_password_comes_from_a_file_or_the_environment_and_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "password").write_text("secret\n")
    monkeypatch.setenv("THE_PASSWORD", "secret")
    for option in (f"password_file={tmp_path / 'password'}", "password_env=THE_PASSWORD"):
        settings = parse(f"aerospike://one/coins?user=me&{option}&auth=external")
        assert (settings.user, settings.password, settings.auth) == ("me", "secret", "external")
        assert "secret" not in repr(settings) + str(settings)


def test_tls(tmp_path: Path) -> None:
    assert parse("aerospike://one/coins").tls is None
    assert parse("aerospike://one/coins?tls=true").tls == {"enable": True}
    (tmp_path / "ca.pem").write_text("")
    settings = parse(f"aerospike://one:4333/coins?tls_name=cluster&tls_cafile={tmp_path / 'ca.pem'}")
    assert settings.tls == {"enable": True, "cafile": str(tmp_path / "ca.pem")}
    assert settings.hosts == (("one", 4333, "cluster"),)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("aerospike:///coins", "needs hosts and a namespace"),
        ("aerospike://one", "needs hosts and a namespace"),
        ("aerospike://one/a/b", "needs hosts and a namespace"),
        ("aerospike://me:secret@one/coins", "not before @"),
        ("aerospike://one:port/coins", "no host"),
        ("aerospike://one,,two/coins", "no host"),
        ("aerospike://one/coins?set=", "no name of a set"),
        ("aerospike://one/coins?set=a:b", "no name of a set"),
        ("aerospike://one/coins?blobs=here", "no absolute directory"),
        ("aerospike://one:0/coins", "no host"),
        ("aerospike://one:65536/coins", "no host"),
        ("aerospike://one/coins?utxo_batch_size=0", "utxo_batch_size=0: is no number from 1 to 4096"),
        ("aerospike://one/coins?utxo_batch_size=4097", "utxo_batch_size=4097: is no number from 1 to 4096"),
        ("aerospike://one/coins?genesis_height=4294967296", "is neither a block height nor never"),
        ("aerospike://one/coins?genesis_height=soon", "genesis_height=soon: is neither a block height nor never"),
        ("aerospike://one/coins?adopt=yes", "adopt=yes: is neither true nor false"),
        ("aerospike://one/coins?read_retries=-1", "read_retries=-1"),
        ("aerospike://one/coins?read_retries=101", "read_retries=101: is no number from 0 to 100"),
        ("aerospike://one/coins?password=secret", "password_file"),
        ("aerospike://one/coins?password_file=/nosuch", "/nosuch"),
        ("aerospike://one/coins?password_env=NO_SUCH_VARIABLE", "NO_SUCH_VARIABLE"),
        ("aerospike://one/coins?auth=magic", "internal, external, pki"),
        ("aerospike://one/coins?tls=maybe", "neither true nor false"),
        ("aerospike://one/coins?tls=false&tls_name=x", "other options of TLS"),
        ("aerospike://one/coins?tls_cafile=/nosuch", "no such file"),
        ("aerospike://one/coins?replicas=3", "unknown option replicas"),
    ],
)
def test_what_is_wrong_is_named(url: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        open_store(url)
    assert "secret" not in str(caught.value)
