"""Parts of a run: its units, and how its scales are fused."""
