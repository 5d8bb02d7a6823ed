"""What the operations share that concerns a master and its child records."""
