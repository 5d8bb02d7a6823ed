"""The daemon's side of its workers.

manager      how many of each pool there are to be, and those that there are: starts, watches, terminates
process      one worker's process
crash_loop   backoff where one after the other fails early
signals      the signals that the daemon is sent, some of which are about its workers
"""
