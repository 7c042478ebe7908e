"""The release in memory, and the watch over the channel that names it."""
