"""A span of time as a person reads it at a glance."""


def span(seconds: float) -> str:
    """Two or three figures and the unit that suits them: 45 us, 3.2 ms, 0.71 s, 12 s, 5 min, 3.0 h, 12 days."""
    if seconds < 0.0995:
        scaled, unit = (seconds * 1e3, "ms") if seconds >= 0.000_995 or not seconds else (seconds * 1e6, "us")
        return f"{scaled:.1f} {unit}" if 0 < scaled < 9.95 and unit == "ms" else f"{scaled:.0f} {unit}"
    if seconds < 9.95:
        return f"{seconds:.2f} s" if seconds < 0.995 else f"{seconds:.1f} s"
    if seconds < 119.5:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    if minutes < 119.5:
        return f"{minutes:.0f} min"
    hours = minutes / 60
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.0f} days"
