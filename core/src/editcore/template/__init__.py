"""The template of plugins: where it is, its versions, and what is rendered from it."""
