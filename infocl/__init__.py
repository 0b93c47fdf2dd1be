"""InfoCL: contrastive pretraining that keeps what later tasks may need."""

__version__ = "0.1.0"
