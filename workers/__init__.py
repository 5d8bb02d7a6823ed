"""The worker processes: the daemon's side of them, and their own.

child                what every process that the daemon starts does first
launch               what both sides agree on: settings, the dump signal, the exit status of a failed start
nonblocking_stderr   standard error that nobody waits for, in the daemon and in its workers
management/          the daemon's side: starts, watches and terminates worker processes; takes the daemon's signals
__main__             a worker's program: `python -m workers`, which the daemon starts
runtime/             the worker's own: takes dispatches from the broker, and executes them on the store
"""
