"""Wisconsin card sorting: its rules and published form, who plays it, and the cards drawn."""
