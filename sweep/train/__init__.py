"""How models train. Keras lives here."""
