"""Datasets, protocols, runner and reports."""
