"""The napari plugin: dock widgets over the engine. Nothing here does numerical work."""
