"""Storage of bytes by key: a folder of this machine, or a prefix of an S3 bucket."""
