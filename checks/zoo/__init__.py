"""Plugins that are wrong on purpose, each in one way: what the conformance suites must find."""
