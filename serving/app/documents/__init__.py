"""Documents over HTTP: upload, list, read, delete."""
