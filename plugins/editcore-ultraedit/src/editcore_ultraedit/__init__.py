"""UltraEdit: lifelong edits in closed form from one forward and one backward pass."""
