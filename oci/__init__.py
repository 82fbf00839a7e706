"""ocikit: the OCI image toolkit for Python (`import oci`)."""

__version__ = "0.1.0"
