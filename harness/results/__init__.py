"""The results of an evaluation: scores, rows, summaries, their files, and clusters of dependent cases."""
