"""What was asked, answered and said of it: kept by the server, read by whatever watches it."""
