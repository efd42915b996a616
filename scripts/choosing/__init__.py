"""Training of the network that chooses: where disease is, what is noise, how much the agent added."""
