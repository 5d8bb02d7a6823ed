"""What a locking script is, as a person knows it: its kind, and its address where it has one.

Addresses are written as the main chain writes them: a script does not say which chain it is on. Base58Check is written
here because the one library that does this and no more has had no release since 2021; it is ten lines.
"""

from typing import Final, NamedTuple

from .merkle import double_sha256

_ALPHABET: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_TO_KEY_HASH: Final = b"\x00"  # what an address's bytes begin with
_TO_SCRIPT_HASH: Final = b"\x05"
_HASH_BYTES: Final = 20
_KEY_SIZES: Final = {33: (2, 3), 65: (4, 6, 7)}  # bytes of a public key: what it begins with
_OP_1: Final = 0x51
_OP_16: Final = 0x60
_OP_CHECKSIG: Final = 0xAC
_OP_CHECKMULTISIG: Final = 0xAE


class Script(NamedTuple):
    """kind: P2PKH, P2PK, P2SH, multisig, data or non-standard. address: of P2PKH and P2SH. signatures, keys: of a
    multisig, how many signatures it wants of how many keys."""

    kind: str
    address: str | None = None
    signatures: int | None = None
    keys: int | None = None

    def __str__(self) -> str:
        if self.kind == "multisig":
            return f"multisig, {self.signatures} of {self.keys}"
        return "data (OP_RETURN)" if self.kind == "data" else self.kind


def describe_script(script: bytes) -> Script:
    hashed = script[3:-2]
    if len(hashed) == _HASH_BYTES and script == b"\x76\xa9\x14" + hashed + b"\x88\xac":
        return Script("P2PKH", base58check(_TO_KEY_HASH + hashed))
    hashed = script[2:-1]
    if len(hashed) == _HASH_BYTES and script == b"\xa9\x14" + hashed + b"\x87":
        return Script("P2SH", base58check(_TO_SCRIPT_HASH + hashed))
    if script.startswith((b"\x6a", b"\x00\x6a")):
        return Script("data")
    if script[-1:] == bytes([_OP_CHECKSIG]) and _count_keys(script[:-1]) == 1:
        return Script("P2PK")
    return _multisig(script) or Script("non-standard")


def _multisig(script: bytes) -> Script | None:
    """A bare one, of keys that look like keys."""
    if len(script) < 3 or script[-1] != _OP_CHECKMULTISIG:
        return None
    wanted, keys = script[0] - _OP_1 + 1, script[-2] - _OP_1 + 1
    if not 1 <= wanted <= keys <= _OP_16 - _OP_1 + 1 or _count_keys(script[1:-2]) != keys:
        return None
    return Script("multisig", None, wanted, keys)


def _count_keys(pushed: bytes) -> int:
    """How many public keys are pushed, one after the other; 0 where there is anything else."""
    count = at = 0
    while at < len(pushed):
        size = pushed[at]
        key = pushed[at + 1 : at + 1 + size]
        if size not in _KEY_SIZES or len(key) != size or key[0] not in _KEY_SIZES[size]:
            return 0
        count, at = count + 1, at + 1 + size
    return count


def base58check(payload: bytes) -> str:
    """The bytes and their checksum in base 58, as addresses are written."""
    whole = payload + double_sha256(payload)[:4]
    number, digits = int.from_bytes(whole), ""
    while number:
        number, digit = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return _ALPHABET[0] * (len(whole) - len(whole.lstrip(b"\0"))) + digits
