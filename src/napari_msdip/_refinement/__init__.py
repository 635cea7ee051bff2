"""Parts of refinement: which patches are alike, and how a group of them is filtered."""
