"""What `set_conflicting` consists of."""
