"""Mutation score of the variant contract: small faulty edits to the built-in models, and which ones it refuses."""
