"""What the commands print with: cleaned text, a console, progress, tables."""
