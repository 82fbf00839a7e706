"""What images are, as values ready to be shown: a summary, the history joined to layers, the rows of a listing."""
