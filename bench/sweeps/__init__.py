"""One thing is changed in steps, and what comes of it is measured: the load, the workers, the size of the set, the
callers that share an fsync. `python -m bench all` measures them all, and draws them."""
