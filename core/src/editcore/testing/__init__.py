"""Tools for the tests of plugins. Importing it is light; torch is imported where it is used."""
