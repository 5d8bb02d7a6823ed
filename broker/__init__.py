"""The ledger of pending items and the pools. Knows nothing of UTXOs: a body is opaque, a key is bytes.

core    every rule of the broker, without I/O and without a clock: events in, actions out
ledger  what is owed an answer, and by when
queue   what waits for a worker, fair between submitters
follow  work that follows from work, as entries
pool    workers of one kind: credit, admission, breaker
join    answers that wait for parts
edge    the sockets: moves frames between ZeroMQ and the core
claim   one daemon an address
doubts  the list of what is in doubt
"""
