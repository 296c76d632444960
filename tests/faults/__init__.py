"""Faults planted into variants, one at a time: `table.FAULTS` says which check of the contract has to name each."""
