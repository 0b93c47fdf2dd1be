"""What data/prepared and data/targets hold, and its readers."""
