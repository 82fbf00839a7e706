"""Images → directories: the merged root filesystem."""
