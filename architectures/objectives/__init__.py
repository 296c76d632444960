"""Training losses, exact likelihoods and writing, for each way of hiding a target."""
