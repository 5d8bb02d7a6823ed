"""The rules of store/rules/utxo.lua, in Python, for the embedded store."""

from collections.abc import Callable
from typing import Any, Final

from .giving_back import release, unspend
from .spending import spend, spend_multi

RULES: Final[dict[str, Callable[..., dict[str, Any]]]] = {
    "spend": spend,
    "spendMulti": spend_multi,
    "unspend": unspend,
    "release": release,
}
