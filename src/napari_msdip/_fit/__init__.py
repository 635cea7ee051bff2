"""Parts of a step of a fit: what it sees, and how it goes down the gradient."""
