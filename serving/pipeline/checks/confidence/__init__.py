"""Confidence: how probably an answer is right, by its question, its passages and its claims, with fitted coefficients."""
