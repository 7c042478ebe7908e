"""What decides what ships: evaluate, sweep, compare, gate, promote."""
