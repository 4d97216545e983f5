"""What commands share: recipes as flags, claimed memories, and delivering what was found."""
