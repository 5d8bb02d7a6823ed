"""One worker process, and its daemon's side of it.

process     a worker's process, as its supervisor sees it
fleet       the workers of one daemon
__main__    the worker's own beginning: ends with its parent, opens the store
intake      asks for work by credit, and answers once per dispatch
batch       the items of one dispatch: each is completed exactly once
execution   runs one operation on one batch, whatever it raises
work        what an operation has to work with: batch, store, time
items       what an item must look like
operations  a module per operation
"""
