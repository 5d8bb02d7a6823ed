"""A daemon under load, and in each of the faults that `utxod doctor --live` names: for tests of that, and for pictures
of what a person sees then (`python -m tests.pictures`)."""
