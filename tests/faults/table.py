"""The one table of planted faults: by the check of the contract that has to name them."""

from faults import caches, compute, files, objectives, reading, training

MODULES = reading, caches, objectives, training, compute, files
FAULTS = {
    check: tuple(fault for module in MODULES for fault in module.FAULTS.get(check, ()))
    for check in dict.fromkeys(check for module in MODULES for check in module.FAULTS)
}
