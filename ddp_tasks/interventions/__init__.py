"""What changes in a network when singular vectors are taken out of its layers."""
