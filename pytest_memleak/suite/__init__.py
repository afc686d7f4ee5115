"""The suite file and its pairs."""
