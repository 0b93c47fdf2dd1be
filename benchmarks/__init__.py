"""Speed as ratios: each figure beside a named alternative, both measured in one run."""
