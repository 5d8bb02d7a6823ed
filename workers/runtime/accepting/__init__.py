"""What `accept` consists of: what a transaction spends, and in which order a batch of them comes into the set."""
