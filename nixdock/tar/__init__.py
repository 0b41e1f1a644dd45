"""Reading and writing tars."""
