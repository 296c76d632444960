"""The parts of a page: tables, sentences, samples."""
