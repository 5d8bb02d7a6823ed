"""A program that uses the client, in a process of its own: what may abort or freeze it harms no test."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def start_program(text: str, endpoint: str) -> "subprocess.Popen[str]":
    """Starts it. ENDPOINT is the endpoint in it."""
    return subprocess.Popen(
        [sys.executable, "-c", f"ENDPOINT = {endpoint!r}\n{text}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def output_of(process: "subprocess.Popen[str]", told: str | None = None) -> str:
    """What it says, once it has ended well."""
    try:
        out, error = process.communicate(told, 90)
    finally:
        process.kill()
    assert process.returncode == 0, (process.returncode, error)
    return out.strip()
