"""A daemon whose store breaks when it is told to: for measurements of faults."""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from store.faulty import Fault
from utxod.own_daemon import OwnDaemon, own_daemon

_STORE: Final = "faulty+lmdb://{directory}/store?sync=false&faults={directory}/faults.json"


def write_faults(file: Path, faults: Sequence[Fault]) -> None:
    """Whoever reads the file meanwhile finds these faults, or those before."""
    new = file.with_suffix(".new")
    new.write_text(json.dumps(faults))
    new.rename(file)


class Faults:
    """The faults in force, in the file that every worker's store reads (store/faulty.py)."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "faults.json"

    def set(self, **fault: Any) -> None:
        """From now on this fault is in force, and no other. fault: `kind`, `times`, `index`, `function`, `seconds` and
        `after`, as store/faulty.py describes them."""
        write_faults(self.file, [fault])

    def clear(self) -> None:
        self.file.unlink(missing_ok=True)

    @contextlib.contextmanager
    def hang(self) -> Iterator[None]:
        """The store answers nobody."""
        self.set(kind="hang")
        try:
            yield
        finally:
            self.clear()


@contextlib.contextmanager
def faulty_daemon(settings: Mapping[str, Any], store_options: str = "") -> Iterator[tuple[OwnDaemon, Faults]]:
    """settings: as for --set. store_options: of the store's URL, as in &utxo_batch_size=1."""
    arguments = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    with own_daemon(_STORE + store_options, arguments) as daemon:
        faults = Faults(daemon.directory)
        try:
            yield daemon, faults
        finally:
            faults.clear()
