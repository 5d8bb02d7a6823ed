"""The Aerospike store: a set in an Aerospike cluster, where the rules run inside the servers.

url             the URL of a set in a cluster, taken apart
connection      the client, connected
store           AerospikeStore: batches as requests of the client
batch_records   record operations as the client takes them, and its answers as results
result_codes    what the codes of servers and client mean
settings        the record that keeps what is fixed for the life of the set
cluster         what the nodes say of themselves
fitness         whether the cluster can serve a set
rules_module    the module of the rules on every node
indexes         the set's secondary indexes
failure_log     says in the log what fails
"""
