"""What `abandon` consists of: what a transaction holds, its creation barred, and the giving back."""
