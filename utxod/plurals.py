"""How many there are of something, as a person says it."""


def many(count: int, noun: str) -> str:
    """1 item, 2 items, 1,000 items."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
