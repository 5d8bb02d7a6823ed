"""Every interleaving of a few callers' steps on a few records, with deaths, late landings and lost notes, of the
project's own operations and rules.

actors      callers and the work that follows from theirs, as graphs
models      what is explored: records, callers, what may go wrong, and what must hold
explorer    their states, breadth first
coins       who spends a coin
conflicts   who is marked as conflicting
counters    what a master knows of its children
accepts     who accepts a transaction, and who abandons it
creations   who creates a transaction of several records
run         the models by what they are of
command     all of them: python -m tests.interleavings
mutants     planted bugs, each of which must be found
"""
