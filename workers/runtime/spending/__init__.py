"""What `spend` and `unspend` share, and the spends of one transaction."""
