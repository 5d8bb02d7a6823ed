"""The ledger of pending items and the pools. Knows nothing of UTXOs: a body is opaque, a key is bytes.

core             every rule of the broker, without I/O and without a clock: events in, actions out
events           what happens to the core; decoding makes them of frames
actions          what the core wants done
admission        whether a request is let in
ledger           what is owed an answer, and by when
queue            what waits for a worker, fair between submitters
pool             workers of one kind
follow_ups       work that follows from work, as entries
fan_in           answers that wait for parts
refusals         those that wait at a pool that can't serve them
sweep_timer      when the next sweep is due; whether the process stood still
collector        Python's collector, while the broker serves
in_doubt_log     the list of what is in doubt
settings         what of the broker can be set; daemon_settings, what of the daemon
transport        receives and sends frames: sockets, and the places where newcomers wait
"""
