"""Images and how they are made: an image and its layers, the builder, edits of a config, the choice among several."""
