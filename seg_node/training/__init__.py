"""Training: recipe, augmentation, losses and the loop (Lightning)."""
