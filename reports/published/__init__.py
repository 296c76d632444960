"""Tables of other comparisons: checked, joined, and held against runs that are trained again."""
