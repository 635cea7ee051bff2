"""Side-by-side quality and speed of napari-msdip and its peers; not shipped."""
