"""The Redis or Valkey that deployments share: where it is, who we are there, what we may do."""
