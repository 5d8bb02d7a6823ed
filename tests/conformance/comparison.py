"""One call in both implementations: whether they agree; and where they don't, the least that shows it."""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from tests.conformance import records
from tests.conformance.implementations import DAMAGED, FAILED, Arguments, Bins, Implementation, Outcome

# Values with a name, for people.
NAMES: Final[dict[str, bytes]] = {
    "OURS": records.OURS, "OURS_TOO": records.OURS_TOO, "THEIRS": records.THEIRS, "FROZEN": records.FROZEN,
    **{f"HASH_{at}": value for at, value in enumerate(records.HASHES)},
    **{f"HASH_{at}_OURS": value + records.OURS for at, value in enumerate(records.HASHES)},
    **{f"HASH_{at}_THEIRS": value + records.THEIRS for at, value in enumerate(records.HASHES)},
    **{f"HASH_{at}_FROZEN": value + records.FROZEN for at, value in enumerate(records.HASHES)},
}  # fmt: skip


class Case(NamedTuple):
    """bins: of the record, None where there is none."""

    function: str
    args: Arguments
    bins: Bins | None


class Difference(NamedTuple):
    case: Case
    expected: Outcome
    actual: Outcome


def same(expected: Any, actual: Any) -> bool:
    """Whether values are equal and of the same types all the way down: 1 is neither 1.0 nor True."""
    if type(expected) is not type(actual):
        return False
    if type(expected) is dict:
        return len(expected) == len(actual) and all(
            name in actual and same(value, actual[name]) for name, value in expected.items()
        )
    if type(expected) is list:
        return len(expected) == len(actual) and all(map(same, expected, actual))
    return bool(expected == actual)


def judge(case: Case, expected: Outcome, actual: Outcome) -> Difference | None:
    """The difference between two outcomes of a call, if there is one."""
    if (
        same(expected.answer, actual.answer)
        and (expected.bins is actual.bins or same(expected.bins, actual.bins))
        and expected.is_written in (None, actual.is_written)
    ):
        return None
    return Difference(case, expected, actual)


def compare(case: Case, expected: Implementation, actual: Implementation) -> Difference | None:
    function, args, bins = case
    return judge(case, expected.hold(bins)(function, args), actual.hold(bins)(function, args))


def shrink(difference: Difference, expected: Implementation, actual: Implementation) -> Difference:
    """One with as few bins, and as few elements in its arguments, as show a difference."""
    while True:
        smaller = (compare(case, expected, actual) for case in _smaller(difference.case))
        found = next(filter(None, smaller), None)
        if found is None:
            return difference
        difference = found


def _smaller(case: Case) -> Iterator[Case]:
    bins = case.bins or {}
    for fewer in _fewer(bins):
        yield case._replace(bins=fewer)
    for name, value in bins.items():
        for fewer in _fewer(value):
            yield case._replace(bins={**bins, name: fewer})
    for index, argument in enumerate(case.args):
        for fewer in _fewer(argument):
            yield case._replace(args=(*case.args[:index], fewer, *case.args[index + 1 :]))


def _fewer(value: Any) -> Iterator[Any]:
    """The lists and maps that lack one element of this one."""
    if isinstance(value, list):
        yield from (value[:index] + value[index + 1 :] for index in range(len(value)))
    elif isinstance(value, dict):
        yield from ({key: item for key, item in value.items() if key != without} for without in value)


def describe(difference: Difference, expected: str, actual: str) -> str:
    """For people: what was called on what, as `python -m tests.conformance --case` takes it, and both outcomes; of the
    bins those that were changed."""
    case = difference.case
    lines = [
        name_values(f"{tuple(case)!r}"),
        f"  {expected}: {_tell(difference.expected, case.bins)}",
        f"  {actual}: {_tell(difference.actual, case.bins)}",
    ]
    return "\n".join(lines)


def parse_case(text: str) -> Case:
    """From the first line of a description. Raises ValueError."""
    try:
        function, args, bins = eval(text, {"__builtins__": {}}, NAMES)  # a developer's own input
        return Case(function, tuple(args), bins)
    except Exception as error:
        raise ValueError(f"no case: {error}") from error


def name_values(text: str) -> str:
    """What has a name stands by its name."""
    for name, value in sorted(NAMES.items(), key=lambda item: -len(item[1])):
        text = text.replace(repr(value), name)
    return text


def _tell(outcome: Outcome, before: Bins | None) -> str:
    if outcome in (FAILED, DAMAGED):
        return str(outcome.answer)
    old, new = before or {}, outcome.bins or {}
    names = [name for name in {**old, **new} if not same(old.get(name), new.get(name))]
    changed = {name: new.get(name) for name in names}
    as_before = "as before, written" if outcome.is_written else "as before"
    return name_values(f"{outcome.answer!r}, bins: {changed or as_before}")
