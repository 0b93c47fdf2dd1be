"""Pretraining: contrastive objective plus regulariser."""
