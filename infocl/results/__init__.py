"""JSON files between stages and consumers; loads without torch."""
