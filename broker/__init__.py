"""The ledger of pending items and the pools. Knows nothing of UTXOs: a body is opaque, a key is bytes.

core             decides when an entry is answered; without I/O and without a clock: events in, actions out
events           what happens to the core
decoding         makes events of frames
actions          what the core wants done
admission        whether a request is let in
entry            one piece of work that is owed an answer, and its states
ledger           all entries that are owed an answer, and how each comes to it
deadlines        entries by when they are to be answered
queue            what waits for a worker, fair between submitters
pool             workers of one kind: credit, room, rate
circuit_breaker  keeps dispatches away from a store that does not answer
scheduling       which pool executes an operation, and what may follow from what
follow_ups       work that follows from work, as entries
fan_in           replies to parts become the one reply
reply_headers    what is read in a worker's reply, and changed
evictions        answers those that wait at a pool that can't serve them
settings         what can be set of the broker
daemon_settings  what can be set of the daemon

Beside the core, for its driver:

transport        receives and sends frames: sockets, and the places where newcomers wait
sweep_timer      when the next sweep is due; whether the process stood still
collector        Python's garbage collector, while the broker serves
in_doubt_log     the file of what is in doubt
receipts         what became of each request, kept beside the daemon
"""
