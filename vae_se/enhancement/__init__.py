"""One recording from samples to samples: whole, longer than memory, or as a stream."""
