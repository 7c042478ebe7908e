"""The providers that LangChain's `init_chat_model` and `init_embeddings` know by name: before a colon, each is a provider and no module."""

PROVIDERS = frozenset(  # a test holds this against the installed LangChain, whose own table is slow to import
    {
        *("anthropic", "anthropic_bedrock", "azure_ai", "azure_openai", "baseten", "bedrock", "bedrock_converse"),
        *("bedrock_mantle_anthropic", "bedrock_mantle_openai", "cohere", "deepseek", "fireworks", "google_anthropic_vertex"),
        *("google_genai", "google_vertexai", "groq", "huggingface", "ibm", "langsmith", "litellm", "meta", "mistralai", "nvidia"),
        *("ollama", "openai", "openrouter", "perplexity", "together", "upstage", "xai"),
    }
)
