"""Skills: small tasks that tell architectures apart, generated from a seed. Each module but ``skill`` has one."""
