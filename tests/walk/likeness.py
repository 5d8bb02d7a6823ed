"""Whether a page shows what a command printed: the same, but for what no two runs have in common.

    a number      is like any other, and like one with another unit of its kind (s and ms, kB and MB); what it counts
                  may be one or many (1 sweep, 3 sweeps)
    a name in hex of eight digits or more is like any other: a txid, a request's id, an epoch
    blanks        are like other blanks, and like the end of a line: columns are as wide as what is in them, and what
                  does not fit is folded
    ...           as a line of the page stands for any lines, also none

Everything else is to be the same, letter by letter.
"""

import re
from typing import Final

ANY_LINES: Final = "..."

_TIMES: Final = r"(?:us|µs|ms|s|min|h|days?)"
_SIZES: Final = r"(?:bytes|kB|MB|GB)"
_NUMBER: Final = r"[+-]?\d+(?:[.,:]\d+)*"
_HEX: Final = r"[0-9a-f]{8,}"
_BLANK: Final = r"\s+"
# What is not to be taken letter by letter, the longest first.
_LOOSE: Final = (
    (rf"\b(?=[0-9]*[a-f])(?=[a-f]*[0-9]){_HEX}\b", _HEX),
    (rf"{_NUMBER}{_BLANK}{_TIMES}\b", rf"{_NUMBER}{_BLANK}{_TIMES}"),
    (rf"{_NUMBER}{_BLANK}{_SIZES}\b", rf"{_NUMBER}{_BLANK}{_SIZES}"),
    (_NUMBER, _NUMBER),
    (_BLANK, _BLANK),
)
_PLACES: Final = re.compile("|".join(f"({what})" for what, _ in _LOOSE))
_COUNTED: Final = re.compile(rf"({_NUMBER}) (?!{_TIMES}\b|{_SIZES}\b)([a-z-]{{2,}}?)s?(?=\W)")


def alike(shown: str, printed: str) -> bool:
    """shown: as the page has it. printed: as it came out. Both of any number of lines."""
    parts, part = [], ""
    for line in shown.splitlines():
        if line.strip() == ANY_LINES:
            parts.append(part)
            part = ""
        else:
            part += f"{line}\n"
    pattern = r"(?:.*\s)?".join(_pattern(_evened(each)) for each in [*parts, part])
    return re.fullmatch(pattern, _evened(printed), re.DOTALL) is not None


def _pattern(text: str) -> str:
    pieces, end = [], 0
    for place in _PLACES.finditer(text):
        assert place.lastindex is not None
        pieces += [re.escape(text[end : place.start()]), _LOOSE[place.lastindex - 1][1]]
        end = place.end()
    return "".join([*pieces, re.escape(text[end:])])


def _evened(text: str) -> str:
    """Words, each with a blank behind it; what is counted is one of it."""
    return _COUNTED.sub(r"\1 \2", "".join(f"{word} " for word in text.split()))
