"""What a study's runs amount to."""
