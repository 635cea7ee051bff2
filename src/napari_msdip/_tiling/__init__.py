"""Parts of an image in tiles: where they lie, and how they are put together."""
