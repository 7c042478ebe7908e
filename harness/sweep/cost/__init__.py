"""What a sweep will cost, what it has cost, and the budget that holds it."""
