"""Speed, memory and start-up of our models beside the same shapes of ``transformers``: ``archbench bench``."""
