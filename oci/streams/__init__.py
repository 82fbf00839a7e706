"""Moving bytes: bounded reads, verified streams, (de)compression, one-pass layers, atomic files.

========================  ==============================================================================
`chunks`                  bounded reads from a file or descriptor
`verify`                  size first, then digest, before the last byte is handed out
`background`              an iterator that runs in a thread of its own
`compression`             sniffing, inflating any layer compression with bounded memory
`compression_write`       the encoders
`lookahead`               a stream that can be asked for what comes next
`together`                several blobs at once; the first error ends all
`progress`                how far something is: bytes counted on their way, each once
`layer_reader`            blob → blob digest → inflate → diff_id → tar bytes, in one pass, in threads
`layer_writer`            tar bytes → diff_id → compress → blob digest, in one pass, in threads
`atomic`                  temporary name, fsync, rename; sweeping what a crash left
========================  ==============================================================================

Nothing is imported here: each user names the module it needs, so that looking at a layout never loads a codec.
"""
