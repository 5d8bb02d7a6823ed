"""What a daemon uses of the machine: processes, threads, descriptors, memory."""

from dataclasses import dataclass

import psutil


@dataclass(frozen=True, slots=True)
class Footprint:
    """Of the supervisor and its workers together. memory_bytes: resident and their own; the store's pages, which are
    the page cache's, are not counted."""

    pending: int
    processes: int
    threads: int
    descriptors: int
    memory_bytes: int

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """All but the memory, which is never the same twice."""
        return self.pending, self.processes, self.threads, self.descriptors


def footprint(pid: int, pending: int) -> Footprint:
    """pid: of the supervisor. Processes that end meanwhile are left out."""
    supervisor = psutil.Process(pid)
    processes = [supervisor, *supervisor.children(recursive=True)]
    found = [held for process in processes if (held := _held(process)) is not None]
    threads, descriptors, memory = (sum(column) for column in zip(*found, strict=True))
    return Footprint(pending, len(found), threads, descriptors, memory)


def _held(process: psutil.Process) -> tuple[int, int, int] | None:
    try:
        with process.oneshot():
            memory = process.memory_info()
            return process.num_threads(), process.num_fds(), memory.rss - memory.shared
    except psutil.Error:
        return None
