"""One run over several processes, each with a share of every batch."""
