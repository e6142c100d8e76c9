"""Texts of the terminal and of Prefect's UI."""
