"""One module for each figure: its panels, caption, takeaway and numbers."""
