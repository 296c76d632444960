"""Examples, tokenizers, data sources and the task kinds; nothing here knows a model."""
