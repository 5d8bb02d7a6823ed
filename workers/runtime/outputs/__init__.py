"""Outputs as they were created, or as they were reassigned, whoever asks for them."""
