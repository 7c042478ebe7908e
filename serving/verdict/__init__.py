"""The verdict on a channel's candidate against the stable release, from the traces of both."""
