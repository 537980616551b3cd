"""Small problems with known answers: landscapes in two dimensions, regressions, networks, and a tiny GPT."""
