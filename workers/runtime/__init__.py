"""What runs in a worker process, in the order in which a dispatch goes through it.

loop          asks the broker for work by credit, and answers once per dispatch
batch         the items of one dispatch: each is completed exactly once
executor      runs one operation on one batch, whatever it raises
context       what an operation is given: batch, store, time budget, settings
operations/   a module per operation
item_checks   what a field of an item must look like
item_shape    an operation's items: a whole body checked at once, or item by item
spending/, creation/, children/   what operations share
alignment     the store's results, one per record operation
rule_answer   what a rule of the UTXO set answered
store_errors  what the store did not do, as the error of an item
notes         what the masters are to hear of their children
"""
