"""The ways in which `create` and `accept` write the records and the blob of a transaction."""
