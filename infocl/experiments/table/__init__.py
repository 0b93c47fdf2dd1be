"""Finished experiments as the table of the paper."""
