"""Sophia in the terms of other frameworks, each in a module that needs its framework: `torch`, `optax`."""
