"""The patch file: its core, its annotation, sealing and reading."""
