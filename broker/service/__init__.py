"""Running under a service manager: unit texts, putting them in place, and readiness messages."""
