"""A run on layers of napari as data: no Qt in here, and no viewer."""
