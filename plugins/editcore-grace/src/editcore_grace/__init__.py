"""GRACE: a codebook beside one layer, whose entries replace its output for prompts near their key."""
