"""Plans, the store of records, messages, and the machine."""
