"""What every part of the package may use: settings and flags, files, progress, errors, checks of tensors."""
