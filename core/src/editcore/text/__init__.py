"""What is said and read: YAML, suggestions, neutral passages, and texts from outside made harmless."""
