"""`utxod top`: what a daemon does, as it does it, in a terminal. A client like any other: it asks for the report, and
makes all that it shows of that."""
