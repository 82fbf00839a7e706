"""OCI runtimes: what a container is to be, the runtime-spec document that says so, and runc or crun that make it."""
