"""What a stack's planes go through: read, denoised here or on a cluster, kept, recorded."""
