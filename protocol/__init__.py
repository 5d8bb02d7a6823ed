"""The words on the wire, and the client that speaks them.

Imports nothing of ours, and only relatively: it is also published alone, as `utxod-client` (import utxod_client).
"""
