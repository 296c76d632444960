"""The contract of training: losses, gradients, random draws, and what is kept between steps."""
