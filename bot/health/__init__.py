"""How Bulkhead itself is: its processes, doors, work and providers, in figures and in words.

``figures`` counts what the metrics export, ``lights`` says of each thing whether it is well and what to do where it is
not: on the status page and in ``bulkhead status``. Both read the database only, so any process can answer, also while
another one is dead.
"""
