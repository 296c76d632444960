"""The data sets that come with archbench."""
