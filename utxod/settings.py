"""Settings of any nested dataclass, from four places: defaults < TOML file < environment < flags.

A setting's key is its path, `pools.write.workers`; the same key in the environment is UTXOD_POOLS_WRITE_WORKERS, in the
file `workers` under [pools.write]. Everything is checked at the start, and an error names the key, the value and the
place it came from. A field's metadata {"help", "unit", "reason", "live"} is its documentation.

The environment is not ours alone: Kubernetes gives every container variables named after its services, UTXOD_PORT among
them where one is called utxod. What is no setting there is an error only where it looks like one.
"""

import dataclasses
import difflib
import json
import re
import tomllib
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from annotated_types import Interval
from pydantic import TypeAdapter, ValidationError

PREFIX = "UTXOD_"
# Variables that are no settings of the daemon: where the commands of the client side connect to, the settings file.
OTHER_VARIABLES = frozenset({"UTXOD_CONNECT", "UTXOD_CONFIG", "UTXOD_BLOCKS", "UTXOD_TEST_AEROSPIKE"})

# What Kubernetes calls the variables of a service (of one called utxod-workers, too); no setting ends like this.
_OF_A_SERVICE = re.compile(r"_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$")
# How alike a name must be to be taken for a setting's: STOER is for STORE (0.8), PORT is not (0.44).
_ALIKE = 0.75

S = TypeVar("S")


class SettingsError(Exception):
    """One line per fault; each names the key, and where the value came from."""


class Setting(NamedTuple):
    """key: dotted path. help: what it does. range: of a number, in words; empty if it has no range. unit: of the value
    and of the range. reason: of the range. live: whether a reload changes it while the program runs."""

    key: str
    value: Any
    help: str
    range: str = ""
    unit: str = ""
    reason: str = ""
    live: bool = False

    @property
    def variable(self) -> str:
        return PREFIX + self.key.replace(".", "_").upper()


def describe(settings: Any) -> list[Setting]:
    """Every setting of an instance, in its order."""
    return list(_leaves(settings, ""))


def load_settings(
    cls: type[S],
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, tuple[Any, str]] | None = None,
    warn: Callable[[str], object] = lambda line: None,
) -> S:
    """An instance of the dataclass `cls`, whose every field has a default.

    file: TOML; a list may be text there, too. environment: variables, those that begin with UTXOD_ are looked at; an
    empty one counts as unset. flags: dotted key -> its value (text, or of the field's type) and the flag's name. warn:
    is told in a line, where there are any, which variables are no settings. Raises SettingsError.
    """
    known = {setting.key: setting for setting in describe(cls())}
    given: dict[str, tuple[Any, str]] = {}
    faults: list[str] = []

    def take(key: str, value: Any, source: str) -> None:
        if key in known and type(value) is bool and type(known[key].value) in (int, float):
            faults.append(f"{key}: must be a number, got {value} (from {source})")  # pydantic would take it for 1 or 0
        elif key in known and any("\0" in text for text in _texts(value)):
            faults.append(f"{key}: has a zero byte in it, got {value!r:.200} (from {source})")
        elif key in known:
            given[key] = _from_text(value, known[key].value), source
        else:
            nearest = _nearest(key, known, 0.5)
            faults.append(f"{key}: no such setting{nearest and f'; did you mean {nearest}?'} (from {source})")

    if file is not None:
        for key, value in _flatten(_read_toml(file), known):
            take(key, value, str(file))
    variables = {setting.variable: setting for setting in known.values()}
    strangers = []
    for name, text in sorted((environment or {}).items()):
        if not text:
            continue  # as good as unset
        if name in variables:
            take(variables[name].key, text, name)
        elif name.startswith(PREFIX) and name not in OTHER_VARIABLES:
            if nearest := _meant(name, variables.keys() | OTHER_VARIABLES):
                faults.append(f"{name}: no such setting; did you mean {nearest}? (from the environment)")
            else:
                strangers.append(name)
    if strangers:
        warn(f"no settings, and left alone: {', '.join(strangers)} (from the environment)")
    for key, (value, flag) in (flags or {}).items():
        take(key, value, flag)
    if faults:
        raise SettingsError("\n".join(faults))
    return _validated(cls, given)


def _validated(cls: type[S], given: Mapping[str, tuple[Any, str]]) -> S:
    tree = dataclasses.asdict(cls())  # type: ignore[call-overload]
    for key, (value, _) in given.items():
        *path, name = key.split(".")
        node = tree
        for step in path:
            node = node[step]
        node[name] = value
    try:
        return TypeAdapter(cls).validate_python(tree)
    except ValidationError as error:
        raise SettingsError("\n".join(_fault(dict(fault), given) for fault in error.errors())) from None


def _fault(fault: Mapping[str, Any], given: Mapping[str, tuple[Any, str]]) -> str:
    """pydantic's fault as a line: key, what is wrong, the value, its place."""
    path = [str(step) for step in fault["loc"]]
    message = str(fault["msg"]).removeprefix("Value error, ").replace("Input should be", "must be").split(", unable")[0]
    for length in range(len(path), 0, -1):  # a fault may lie deeper than its key: an element of a list
        key = ".".join(path[:length])
        if key in given:
            value, source = given[key]
            return f"{key}: {message}, got {value!r:.200} (from {source})"
    # A rule about several settings at once: name those that were given.
    under = ".".join(path)
    places = [f"{key} from {source}" for key, (_, source) in given.items() if key.startswith(under)]
    return f"{under or 'settings'}: {message}" + (f" ({', '.join(places)})" if places else "")


def _leaves(value: Any, prefix: str, metadata: Mapping[str, Any] = {}, limits: str = "") -> Iterator[Setting]:
    if dataclasses.is_dataclass(value):
        types = typing.get_type_hints(type(value), include_extras=True)
        for field in dataclasses.fields(value):
            limits = _range_of(types[field.name])
            yield from _leaves(getattr(value, field.name), f"{prefix}{field.name}.", field.metadata, limits)
    elif isinstance(value, dict) and value and all(dataclasses.is_dataclass(inner) for inner in value.values()):
        for name, inner in value.items():
            yield from _leaves(inner, f"{prefix}{name}.")
    else:
        words = {name: metadata.get(name, "") for name in ("help", "unit", "reason")}
        yield Setting(prefix[:-1], value, range=limits, live=metadata.get("live", False), **words)


def _range_of(annotated: Any) -> str:
    ranges = [constraint for constraint in getattr(annotated, "__metadata__", ()) if isinstance(constraint, Interval)]
    return f"{ranges[0].ge} to {ranges[0].le}" if ranges else ""


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text())
    except OSError as error:
        raise SettingsError(f"{file}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file}: {error}") from None
    except ValueError:
        raise SettingsError(f"{file}: a number in it has thousands of digits") from None
    except RecursionError:
        raise SettingsError(f"{file}: lists or tables are nested too deeply in it") from None


def _flatten(table: Mapping[str, Any], known: Mapping[str, Setting], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Tables are walked into, except where the key itself is a setting (a map)."""
    for name, value in table.items():
        key = prefix + name
        if isinstance(value, dict) and key not in known:
            yield from _flatten(value, known, key + ".")
        else:
            yield key, value


def _from_text(text: Any, default: Any) -> Any:
    """In text, lists are written with commas, maps as JSON. The rest is read by the field's type."""
    if not isinstance(text, str):
        return text
    if isinstance(default, (list, tuple, set, frozenset)):
        return [part.strip() for part in text.split(",") if part.strip()]
    if isinstance(default, dict):
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text


def _texts(value: Any) -> list[str]:
    return [each for each in (value if isinstance(value, list) else [value]) if isinstance(each, str)]


def _meant(variable: str, known: Iterable[str]) -> str:
    """The variable that one who set this one meant: it is spelt nearly so, or is its end; empty if no
    setting is like it."""
    if _OF_A_SERVICE.search(variable):
        return ""
    names = {name.removeprefix(PREFIX): name for name in sorted(known)}
    name = variable.removeprefix(PREFIX)
    ends = [whole for whole in names if name and whole.endswith(f"_{name}")]
    return names.get(ends[0] if ends else _nearest(name, names, _ALIKE), "")


def _nearest(key: str, known: Iterable[str], alike: float) -> str:
    return next(iter(difflib.get_close_matches(key, list(known), n=1, cutoff=alike)), "")
