"""What `spend`, `unspend` and `accept` share, and the spends of one transaction."""
