"""Prompts, subjects and targets as token ids."""
