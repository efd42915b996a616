"""Arrays in, arrays out: the only place that imports torch."""
