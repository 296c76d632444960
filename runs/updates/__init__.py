"""An update of the weights: optimizers, gradients in parts and over several devices."""
