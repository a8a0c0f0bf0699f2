"""Loaders of published dataset layouts: records in, cases out."""
