"""The daemon's side of its workers.

manager          how many of each pool there are to be, and those that there are: starts, watches, terminates, reaps
process          one worker's process
companion        processes beside the daemon that no answer depends on
program          how either is started
exit_status      what one's end says, in words
crash_loop       backoff where one after the other fails early
rolling_restart  replaces all of them, one after the other
housekeeping     chores that may fail
staff            the same workers, as processes and as those who hold dispatches
terminal         whether a SIGHUP says that the terminal has closed
signals          the signals that the daemon is sent, some of which are about its workers
"""
