"""Data only: playbooks, drills and policy. A package, so that the wheel carries them and finds them again."""
