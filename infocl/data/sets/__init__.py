"""Published data sets by name: one module for each kind of files that they come in."""
