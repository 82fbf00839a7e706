"""OCI 1.1 artifacts: files as layers of a manifest, pushed, pulled, and attached to other manifests."""
