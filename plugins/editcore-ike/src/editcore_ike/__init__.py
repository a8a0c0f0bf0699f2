"""Edits in the prompt: IKE, its prompt-only form, and retrieval of edited facts."""
