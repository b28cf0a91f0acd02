"""The program around the engines: a service to embed, and the twistd and twist command made of it."""
