"""The audit: what the encoders still tell of known changes of an image, asked without labels."""
