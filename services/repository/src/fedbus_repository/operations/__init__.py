"""Copies and checks of whole stores: `fedbus store` calls them."""
