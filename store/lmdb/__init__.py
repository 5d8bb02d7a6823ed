"""The embedded store: a set in LMDB files in a directory, which all processes of a host share.

url           the URL of an embedded set, taken apart
store         EmbeddedStore: batches as transactions of LMDB
settings      the record that keeps what is fixed for the life of the set
environment   the LMDB environment, opened and kept usable
writer_lock   the lock that every writer takes first
record        a record, and its bytes
rules/        the rules in Python
conversion    a set of an older layout becomes one of this layout
"""
