"""A process beside the daemon that shows its figures over HTTP. It asks the daemon as any client does, and may hang or
die without harm to it."""
