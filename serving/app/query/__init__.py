"""Questions and their answers, whole or as a stream."""
