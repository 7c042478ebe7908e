"""One policy for the guard on this machine and for Bedrock Guardrails: what is rendered from it."""
