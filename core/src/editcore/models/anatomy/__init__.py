"""What the parts of a model are, where they are, and what its files call them."""
