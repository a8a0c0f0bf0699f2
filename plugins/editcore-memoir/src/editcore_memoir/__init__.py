"""MEMOIR: a residual memory beside one MLP matrix, read and written through a sparse mask of the prompt."""
