"""The local store: images, their layers unpacked once, containers' rows, volumes. `store` is the way in.

==========================  ==============================================================================
`store`, `place`            the open store; what its parts stand on, and the lock of the whole
`state`, `schema`           the database
`images`                    names, IDs, tags; removing
`layers`, `making`          layers unpacked once, by whom and in which order (`layer_folders`: what is there)
`containers`, `ending`      rows and locks of containers; how a run ended
`volumes`                   data that outlives containers (`volume_folder`, `volume_data`: its files)
`folders`, `disk`           folders that appear and go whole; bytes on disk
`check`, `repair`           faults, found and mended (`faults_…`: part by part)
`inventory`, `usage`        who needs what; where the bytes are; `prune`: what nothing needs goes
==========================  ==============================================================================

Nothing is mounted here and no program started; `repair` unmounts and kills what dead supervisors left.
"""
