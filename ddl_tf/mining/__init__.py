"""Easy and hard groups of a stored set: measures of images, rules over them, degraded copies, pictures to check by."""
