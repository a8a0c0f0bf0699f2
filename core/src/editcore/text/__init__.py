"""Text in and out: YAML, suggestions, neutral passages, and texts from outside made harmless."""
