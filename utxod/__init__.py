"""The command line: serve, doctor, demo, replay, status, get. May use every other package here."""


def __getattr__(name: str) -> str:
    """Only where it is asked for: before anything is imported, the command looks whose packages those would be."""
    if name == "__version__":
        from protocol.version import __version__  # noqa: PLC0415

        return __version__
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
