"""What `spend` and `abandon` share, and the spends of one transaction."""
