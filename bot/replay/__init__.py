"""Press play: an incident as a sequence of scenes, drawn from its timeline and from what its drill has told.

``scenes`` is a pure function from events to scenes, ``picture`` draws a scene, ``page`` puts them into one document.
"""
