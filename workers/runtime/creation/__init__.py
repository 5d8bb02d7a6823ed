"""The ways in which `create` writes the records and the blob of a transaction."""
