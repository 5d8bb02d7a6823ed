"""The conformance suite as a command: all products and histories, one case again, or mutants; and what was found."""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, nullcontext
from functools import cache
from itertools import chain
from typing import Final, NamedTuple, TypeVar

import click
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

from bench.report import Figure, Report
from store.rules import rules_source
from tests.conformance import hunt
from tests.conformance.comparison import Difference, compare, describe, parse_case, shrink
from tests.conformance.equivalents import EQUIVALENTS
from tests.conformance.histories import run_history
from tests.conformance.implementations import Implementation, InLua, InPython, Served
from tests.conformance.lua_mutants import lua_mutants
from tests.conformance.mutants import Mutant
from tests.conformance.products import Product, all_products
from tests.conformance.python_mutants import python_mutants
from tests.conformance.suite import run_product
from tests.support.aerospike_server import SERVER, server_client
from tests.support.served_rules import ServedRules

NO_DIFFERENCE: Final = "both implementations agree in every case"
ALL_FOUND: Final = "every change of an implementation is found by a case"
_SHOWN: Final = 10
_AT_A_TIME: Final = 50_000  # cases
_HISTORIES_AT_A_TIME: Final = 100
_MUTANTS_AT_A_TIME: Final = 10
_SERVED: Final = 300  # cases of a product: a server takes a hundred times as long
_MUTANTS: Final[dict[str, Callable[[], Iterator[Mutant]]]] = {"Lua": lua_mutants, "Python": python_mutants}

T = TypeVar("T")


class Found(NamedTuple):
    """Of some cases: how many, seconds of processor time, and the differences (some of them, where there are many)."""

    cases: int
    seconds: float
    differences: list[Difference]


def conform(
    seed: int, histories: int, minutes: float, against: str, processes: int, case: str | None, mutants: bool
) -> Report:
    """seed: of the first history. histories: how many. minutes: for more histories. against: lua; or server, which the
    Lua module is run in. processes: side by side; 0 for as many as there are CPUs. case: this one alone, as a
    difference tells it. mutants: hunt them instead."""
    report = Report("conformance")
    processes = processes or os.cpu_count() or 1
    with _module_on_server() if against == "server" else nullcontext():
        if case is not None:
            _show(report, case, against)
        elif mutants:
            _hunt(report, processes)
        else:
            _run_all(report, seed, histories, minutes, against, processes)
    return report


@contextmanager
def _module_on_server() -> Iterator[None]:
    """For as long as it is used."""
    if not SERVER:
        raise click.UsageError("UTXOD_TEST_AEROSPIKE names no server: host[:port]/namespace")
    with server_client() as client:
        rules = ServedRules(client, rules_source())
        try:
            yield
        finally:
            rules.remove()


def _show(report: Report, text: str, against: str) -> None:
    try:
        case = parse_case(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--case") from None
    difference = compare(case, *_pair(against))
    report.promise(NO_DIFFERENCE, difference is None)
    _tell([difference] if difference else [], against)


def _run_all(report: Report, seed: int, histories: int, minutes: float, against: str, processes: int) -> None:
    products = all_products()
    with ProcessPoolExecutor(processes) as pool:
        parts = [part for number, product in enumerate(products) for part in _parts(number, product, against)]
        found = _in_turns(pool, "cases", _run_part, parts, against)
        firsts = range(seed, seed + histories, _HISTORIES_AT_A_TIME)
        found_in_histories = _in_turns(pool, "histories", _run_histories, firsts, against)
        until, first = time.monotonic() + 60 * minutes, firsts.stop
        while time.monotonic() < until:
            more = [first + turn * _HISTORIES_AT_A_TIME for turn in range(processes)]
            found_in_histories += pool.map(_run_histories, more, [against] * processes)
            first += processes * _HISTORIES_AT_A_TIME
    differences = [difference for each in [*found, *found_in_histories] for difference in each.differences]
    report.promise(NO_DIFFERENCE, not differences)
    _tell(differences, against)
    report.figures += [
        Figure("rules", [len({product.function for product in products})], "rules"),
        *_figures("cases", found),
        Figure("histories", [len(found_in_histories) * _HISTORIES_AT_A_TIME], "histories"),
        *_figures("calls in histories", found_in_histories),
        Figure("differences", [len(differences)], "differences"),
    ]


def _figures(what: str, found: list[Found]) -> list[Figure]:
    return [
        Figure(what, [sum(each.cases for each in found)], "calls"),
        Figure(f"{what}: processor time", [sum(each.seconds for each in found)], "s"),
    ]


def _parts(number: int, product: Product, against: str) -> list[tuple[int, int, int]]:
    """A product in parts: its number, and of which cases each is: every step-th, from start on."""
    if against == "server":
        return [(number, product.step(_SERVED), 0)]
    step = product.size() // _AT_A_TIME + 1
    return [(number, step, start) for start in range(step)]


def _run_part(part: tuple[int, int, int], against: str) -> Found:
    number, step, start = part
    expected, actual = _pair(against)
    began, cases = time.process_time(), 0
    found: list[Difference] = []
    for calls, differences in run_product(all_products()[number], expected, actual, step, start):
        cases += calls
        found += differences[: _SHOWN - len(found)]
    return Found(cases, time.process_time() - began, [shrink(each, expected, actual) for each in found])


def _run_histories(first: int, against: str) -> Found:
    expected, actual = _pair(against)
    began, cases, found = time.process_time(), 0, []
    for seed in range(first, first + _HISTORIES_AT_A_TIME):
        calls, difference = run_history(seed, expected, actual)
        cases += calls
        if difference:
            found.append(shrink(difference, expected, actual))
    return Found(cases, time.process_time() - began, found)


@cache
def _pair(against: str) -> tuple[Implementation, Implementation]:
    """Of this process: the one that is right, and the one that is held against it."""
    return (Served(rules_source()) if against == "server" else InLua()), InPython()


def _tell(differences: list[Difference], against: str) -> None:
    told = {describe(each, "Lua" if against == "lua" else "server", "Python"): None for each in differences}
    for text in list(told)[:_SHOWN]:
        click.echo(text)


def _hunt(report: Report, processes: int) -> None:
    for language in _MUTANTS:
        mutants = _mutants(language)
        with ProcessPoolExecutor(processes) as pool:
            firsts = range(0, len(mutants), _MUTANTS_AT_A_TIME)
            some = _in_turns(pool, f"mutants of {language}", _hunt_some, firsts, language)
        found = list(chain.from_iterable(some))
        survivors = [mutant for mutant, by in zip(mutants, found, strict=True) if by is None]
        programs = [by for by in found if by != hunt.NO_PROGRAM]
        report.promise(ALL_FOUND, not survivors)
        for mutant in survivors:
            click.echo(f"survives: {mutant.file}:{mutant.line}  {mutant.name}")
        report.figures += [
            Figure(f"mutants of {language}", [len(programs)], "mutants"),
            Figure(f"mutants of {language} that survive", [len(survivors)], "mutants"),
        ]
    report.figures.append(Figure("mutants that mean the same, by hand", [len(EQUIVALENTS)], "mutants"))


@cache
def _mutants(language: str) -> list[Mutant]:
    return [mutant for mutant in _MUTANTS[language]() if mutant.name not in EQUIVALENTS]


def _hunt_some(first: int, language: str) -> list[str | None]:
    return [hunt.find(mutant) for mutant in _mutants(language)[first : first + _MUTANTS_AT_A_TIME]]


def _in_turns(
    pool: ProcessPoolExecutor, what: str, run: Callable[..., T], parts: Iterable[object], argument: str
) -> list[T]:
    """All parts, each in one of the processes, with a bar on a terminal."""
    parts = list(parts)
    console = Console(stderr=True)
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        results = pool.map(run, parts, [argument] * len(parts))
        return list(progress.track(results, total=len(parts), description=what))
