"""Finds where a model keeps a fact: causal tracing and the logit lens, as locators and as the command `locate`."""
