"""For authors of plugins: what their tests need. Importing it is light; torch is imported where it is used."""
