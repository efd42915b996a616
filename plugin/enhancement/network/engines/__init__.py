"""What runs a network: batch in, batch out."""
