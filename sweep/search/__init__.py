"""Choose the configs that are tried, the trials that go on, and the finalists that are confirmed."""
