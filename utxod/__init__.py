"""The command line: serve, doctor, demo, replay, status, get. May use every other package here."""

__version__ = "0.1.0"
