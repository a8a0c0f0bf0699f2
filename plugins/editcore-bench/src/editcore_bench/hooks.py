"""The entry module: light, no torch."""

EDITCORE_API = ">=1.0,<2"
