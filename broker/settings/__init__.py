"""What the config file needs besides its tables (`broker.config`): what the values must be, where in the text a setting stands, what a new text changes."""
