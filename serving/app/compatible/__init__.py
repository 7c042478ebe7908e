"""APIs compatible with other clients (OpenAI, Dify, MCP): each admits a question as /v1/query does."""
