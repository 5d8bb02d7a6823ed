"""The rules of the embedded store (store/lmdb/rules) and the Lua module (store/rules/utxo.lua) are one contract with
two implementations: for every case here they give the same answer and leave the same bins, or both fail.

    python -m tests.conformance             every case, then random histories
    python -m tests.conformance --mutants   every change of either implementation is found by a case

records            records, out of dimensions: what a bin may hold, one value beside the other
arguments          what a rule is called with, good and bad
products           for each rule the records and arguments that are crossed
histories          random sequences of calls on one record
implementations    what is compared: Lua in this process, Lua in a server, Python
comparison         one call in both, and how a difference is told
mutants            changes of either implementation: lua_mutants, python_mutants
command            `python -m tests.conformance`
"""
