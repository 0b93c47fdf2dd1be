"""Images of one's own, in a folder."""
