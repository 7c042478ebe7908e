"""Documents over HTTP: uploads, what there is to read, deletion."""
