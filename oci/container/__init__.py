"""Containers: their life, what they wrote, and what is made of it. One module an idea; see each one's first lines."""
