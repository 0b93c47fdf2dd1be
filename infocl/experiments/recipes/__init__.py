"""Published settings as overrides of params.yaml, and grids of them."""
