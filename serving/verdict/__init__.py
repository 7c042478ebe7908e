"""Whether a channel's candidate is as good as the stable release beside it, by the traces of what both were really asked."""
