"""Every figure that the README quotes, each against a floor or a peer. ``python -m benchmarks`` prints them all."""
