"""What middleware sees of a call, the chain it forms, and the driver that runs it."""
