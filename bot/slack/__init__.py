"""Slack: the room where an incident is run. A thin edge over the engine; it never decides anything."""
