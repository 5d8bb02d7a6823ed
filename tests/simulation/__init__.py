"""The broker's core in a simulated world, driven by one seed.

tasks       requests and follow-up work, and what truly happened to them
weather     what may go wrong in one run, and how often
world       the clock, the network, the store; events in, actions out
world_interface  what workers and submitters use of it
workers     simulated workers, and the manager that starts and ends them
submitters  who asks, floods, vanishes and comes back, and sends nonsense
reckoning   what must follow from each event, by a second and simple-minded count
nonsense    replies and requests that are not what the protocol says
invariants  what the core does, held against it: the invariants, checked after every step
tally       what the figures must say, counted a second time
audit       the core's own structures, looked through now and then and at the end
run         one seed: what it came to
command     many seeds, and every planted bug: python -m tests.simulation
mutants     planted bugs, each of which must be found

And daemons that share one set, whose records are changed one at a time by the real operations and rules.

records     a step of a record, by the real rules
replay      a dispatch of the real operations, one batch of records at a time
shared_set_world  the clock, the network, the records; the end, when everybody asks again
daemons     the real core each, and workers that take their steps record by record
callers     who asks, is told that something is unknown, and asks again
storm       what may go wrong in one run, and how often
promises    what was acknowledged, held against each step
planted     a planted bug, for as long as somebody looks for it
record_mutants  planted bugs in rules and workers
"""
