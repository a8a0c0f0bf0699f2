"""WISE: a side copy of one MLP matrix that holds the edits, and a router that decides by prompt which copy answers."""
