"""Receipts: what became of each request, kept in a ring of files beside the daemon, for `utxod explain`.

records          their bytes
recording        the core's side: makes them, once per dispatch, without I/O
channel          the daemon's side: passes them on, and waits for nobody
mailbox          the memory that the daemon shares with the recorder
recorder         the process beside the daemon that writes them (`python -m broker.receipts`)
ring             the file that they go round in
coverage         from when to when nothing is missing
reading          finds all that is kept of a request
"""
