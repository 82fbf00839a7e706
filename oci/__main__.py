"""`python -m oci`: the same as the command `ocikit`."""

from oci.cli.entry import main

if __name__ == "__main__":
    raise SystemExit(main())
