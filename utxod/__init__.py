"""The command line: serve, doctor, demo, replay, status, get. May use every room of the house."""

__version__ = "0.1.0"
