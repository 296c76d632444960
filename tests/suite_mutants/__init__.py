"""Mutation score of the test suite: small edits of the project's own source, and which ones its tests notice."""
