"""The built-in metrics, one definition a file, and what they share."""
