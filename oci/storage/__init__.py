"""The local store: images, their layers unpacked once, containers' rows, volumes. No mounts, no processes."""
