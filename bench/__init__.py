"""Measurements that a user can repeat: python -m bench NAME --json

Tests may use what the measurements share (command_line, report, faults, footprint, load, direct)."""
