"""The contract of scores: likelihoods, estimates, and the answers that follow them."""
