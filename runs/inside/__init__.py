"""What is inside a trained run, measured for `archbench inspect`: plain numbers and texts, drawn elsewhere."""
