"""What an evaluation found: scores, rows, summaries, and what of them belongs together."""
