"""What is done to data before and after training: looking for what is wrong, keeping it decoded, sending it off."""
