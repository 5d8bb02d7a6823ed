"""What operations share about a master and its child records."""
