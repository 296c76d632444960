"""What happens inside a trained run, measured and shown on a page: ``archbench inspect``."""
