"""Data sets: by name to arrays on disk, and from there to the device."""
