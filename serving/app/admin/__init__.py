"""What administrators look at and move: traffic, money, incidents, releases, channels."""
