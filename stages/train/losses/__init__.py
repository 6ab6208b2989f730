"""What heads minimise: pure functions of labels, predictions and masks."""
