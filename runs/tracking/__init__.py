"""The records of a comparison, shown in the trackers that users already have."""
