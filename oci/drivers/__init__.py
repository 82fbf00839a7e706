"""Storage drivers: read-only layers and one writable one, shown as one tree. `driver` says what a driver is.

==========================  ==============================================================================
`driver`, `snapshot`        the protocol; where a container's files lie
`probe`                     which driver works at a place, by trying
`overlay`                   the kernel's overlayfs; `fuse_overlayfs`: the same by a program; `copy`: copies
`marks`, `roots`            whiteouts and opaque directories on disk; what the root directory looks like
`layer_folder`              one layer → a folder that can be stacked; `layer_compare`: is it still that
`folders`, `lower`          directories by descriptors; what read-only layers show together
`differences`, `delta`      what a container wrote: found by one walk, told as changes or as a layer
==========================  ==============================================================================
"""
