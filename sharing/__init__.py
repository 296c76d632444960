"""A comparison shown elsewhere: in a tracker (``archbench track``) and on the Hugging Face hub (``archbench push``)."""
