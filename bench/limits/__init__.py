"""What a figure is held against: what the machine, and what the daemon is built of, could do at best.

Each module has one: the relay of messages, LMDB, a pool of processes. They are measured in the same rounds as the
figures, so that a ratio of the two says the same on another machine."""
