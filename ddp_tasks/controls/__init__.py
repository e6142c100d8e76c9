"""Controls of a layer's findings: other bases of the same outputs, and labels given by chance."""
