"""What a run does, which name follows from it, and what its worker says."""
