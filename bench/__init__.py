"""Measurements that a user can repeat: python -m bench NAME --json"""
