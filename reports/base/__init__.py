"""Tables of a comparison, and the statistics on them."""
