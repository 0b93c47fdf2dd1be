"""Recipes, and the table of experiments."""
