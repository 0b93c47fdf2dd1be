"""Data sets made from what scikit-learn ships."""
