"""The apparent diffusion coefficient: fitted, or the scanner's."""
