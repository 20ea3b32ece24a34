"""Those who compete: each module starts one server, and says how it is asked and what it does not do."""
