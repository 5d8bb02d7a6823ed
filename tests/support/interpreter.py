"""An interpreter of a test's own, for a daemon and its workers: it can be taken away, and break a library."""

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

_PACKAGES = f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"


class Interpreter:
    """A virtual environment in `place` that has the packages of this one. path: of the program."""

    def __init__(self, place: Path) -> None:
        self.path = place / "bin" / "python"
        self._packages = place / _PACKAGES
        self.path.parent.mkdir(parents=True)
        self._packages.mkdir(parents=True)
        shutil.copy(Path(sys.prefix) / "pyvenv.cfg", place)
        self.path.symlink_to(os.path.realpath(sys.executable))
        (self._packages / "packages.pth").write_text(f"{Path(sys.prefix) / _PACKAGES}\n")

    def break_library(self, code: str) -> None:
        """code: what every process runs at its beginning."""
        (self._packages / "faults_of_the_test.py").write_text(code)
        (self._packages / "zz_faults.pth").write_text("import faults_of_the_test\n")

    def wrap(self, script: str) -> None:
        """What is started in its place is a shell's script. {python}: the interpreter."""
        python = self.path.with_name("python3")
        self.path.rename(python)
        self.path.write_text("#!/bin/sh\n" + script.format(python=python) + "\n")
        self.path.chmod(0o755)

    def hold_workers(self, go: Path) -> None:
        """They begin once that file is there."""
        wait = f"while 'workers' in sys.orig_argv and not os.path.exists({str(go)!r}):\n    time.sleep(0.02)\n"
        self.break_library(f"import os, sys, time\n{wait}")

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """As in the middle of an upgrade."""
        aside = self.path.with_name("aside")
        self.path.rename(aside)
        try:
            yield
        finally:
            aside.rename(self.path)
