"""MELO: a vector database on the output of one block routes prompts to low-rank blocks of later ones."""
