"""Other ways of having work done by processes, on the same request and reply work as utxod's null store: a get of one
field that a worker answers from memory. Celery and Dramatiq over Redis, and multiprocessing.Pool.

Needs the extra `peers`, and a redis-server on the path."""
