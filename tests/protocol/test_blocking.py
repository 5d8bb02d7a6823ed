"""The blocking client is what its source makes of it, and every public method says what it takes and gives."""

import inspect
import re

import pytest

from protocol import AsyncClient, Client
from tests.protocol.generate_blocking import TWINS, generate, sources


def methods(client: type) -> list[str]:
    return [name for name, _ in inspect.getmembers(client, inspect.isfunction) if not name.startswith("_")]


OF_OTHERS = ("retry", "iter_many")  # they take a method
BOTH = [(client, method) for client in (AsyncClient, Client) for method in methods(client)]


def test_the_blocking_client_is_the_one_that_is_generated() -> None:
    current = {name: (TWINS / name).read_text() for name in sources()}
    assert generate(sources()) == current, (
        "protocol/client/blocking/ is not current; run: python -m tests.protocol.generate_blocking"
    )


def test_what_is_left_of_asyncio_and_a_replacement_of_no_use_are_refused() -> None:
    with pytest.raises(ValueError, match=r"more\.py: .* would still say 'import asyncio'"):
        generate({**sources(), "more.py": "import asyncio\n"})
    with pytest.raises(ValueError, match="of no use any more"):
        generate({name: text.replace("AsyncioDriver", "OtherDriver") for name, text in sources().items()})


@pytest.mark.parametrize(("client", "method"), BOTH)
def test_every_method_has_a_docstring_that_names_its_parameters(client: type, method: str) -> None:
    function = getattr(client, method)
    text = function.__doc__
    assert text
    named = {"self", "txid", "vout", "timeout"}  # the class says what these are
    for base in re.findall(r"As `(\w+)`|those of `(\w+)`", text):
        named |= set(inspect.signature(getattr(client, "".join(base))).parameters)
    parameters = set(inspect.signature(function).parameters) - named
    assert {name for name in parameters if name not in text} == set()


def test_the_twins_have_the_same_methods_and_parameters() -> None:
    assert set(methods(Client)) == {*methods(AsyncClient), "submit"}
    for method in methods(AsyncClient):
        asked, twin = getattr(AsyncClient, method), getattr(Client, method)
        assert inspect.iscoroutinefunction(asked) == (method != "iter_many")
        assert not inspect.iscoroutinefunction(twin)
        if method in OF_OTHERS:
            assert list(inspect.signature(asked).parameters) == list(inspect.signature(twin).parameters)
        else:
            assert inspect.signature(asked) == inspect.signature(twin)
