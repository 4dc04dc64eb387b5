"""The command line: it parses, calls the client and prints. No rule of the domain lives here."""
