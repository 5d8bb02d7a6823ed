"""The version of the daemon and of its client: they are released together. Both distributions read it here."""

__version__ = "0.1.0"
