"""What the terminal and Prefect's UI say."""
