"""Batches of prepared images, from wherever they are stored."""
