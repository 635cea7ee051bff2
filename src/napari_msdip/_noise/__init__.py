"""What noise an image has: its level, its correlation, and whether it is noise at all."""
