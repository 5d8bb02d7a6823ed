"""The daemon's side of its workers.

manager          how many of each pool there are to be, and those that there are: starts, watches, terminates, reaps
process          one worker's process
crash_loop       backoff where one after the other fails early
rolling_restart  replaces all of them, one after the other
housekeeping     chores that may fail
signals          the signals that the daemon is sent, some of which are about its workers
"""
