"""How good the frozen features are: linear probe, nearest neighbours, and diagnostics without labels."""
