"""The broker's core in a simulated world, driven by one seed.

tasks       requests and follow-up work, and what truly happened to them
weather     what may go wrong in one run, and how often
world       the clock, the network, the store; events in, actions out
fleet       simulated workers, and the supervisor that starts and ends them
submitters  who asks, floods, vanishes and comes back, and sends nonsense
reckoning   what must follow from each event, by a second and simple-minded count
nonsense    replies and requests that are not what the protocol says
model       what the core does, held against it: the invariants, checked after every step
audit       the core's own structures, looked through now and then and at the end
run         one seed, many seeds
mutants     planted bugs, each of which must be found
"""
