"""Two evaluations side by side, on the cases that both scored."""
