"""What of a report is shown to whoever asks over HTTP, and how."""

import json

from utxod.diagnosis import diagnose

from .asking import Asked


def as_json(asked: Asked) -> bytes:
    """The report as a JSON object, with when it was asked for (`asked_at`, Unix time) and what is wrong (`findings`,
    those of `utxod doctor --live`); or else why there is none (`error`), and since when (`silent_since`)."""
    if asked.report is None or asked.before is None:
        return _packed({"error": asked.why, "silent_since": asked.silent_since, "asked_at": asked.at})
    return _packed(
        {
            **asked.report,
            "epoch": f"{asked.report['epoch']:016x}",  # beyond the integers that every reader of JSON keeps exact
            "store": without_options(asked.report["store"]),
            "asked_at": asked.at,
            "findings": [finding._asdict() for finding in diagnose(asked.before, asked.report)],
        }
    )


def without_options(store: str) -> str:
    """A store's URL without what stands behind ? (users, files of passwords and keys) and before @."""
    url = store.partition("?")[0]
    scheme, slashes, rest = url.partition("//")
    hosts, slash, path = rest.partition("/")
    return f"{scheme}{slashes}{hosts.rpartition('@')[2]}{slash}{path}"


def _packed(shown: dict[str, object]) -> bytes:
    return json.dumps(shown, separators=(",", ":")).encode()
