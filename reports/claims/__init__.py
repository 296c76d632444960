"""Published claims and what a comparison says about them."""
