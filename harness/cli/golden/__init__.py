"""`touchstone golden …`: a file for each command, and what they show."""
