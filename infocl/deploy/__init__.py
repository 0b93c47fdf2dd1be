"""What users of an export need: embedding, verifying and serving it, without torch or DVC."""
