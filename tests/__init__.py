"""Tests; the simulator among them is also used by the measurements."""
