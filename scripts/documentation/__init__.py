"""What the documentation takes from the code: tables of routes and settings, and the picture of the layers."""
