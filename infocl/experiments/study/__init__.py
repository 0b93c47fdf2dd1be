"""What each regulariser does to each task, over seeds: DVC experiments, and what they allow to say."""
